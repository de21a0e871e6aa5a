"""The tab that searches: a picture, what should change, ten results beside those of each half, and further rounds."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diptych.app import parts
from diptych.app.answers import CLICKS, ONE_AT_A_TIME, answering, private
from diptych.app.picture_search import Found, PictureSearch
from diptych.app.session import Session
from diptych.app.uploads import PICTURES, dropped_picture

MOST_WORDS = 1000  # characters; models read less
_TO_TEXT = "() => document.querySelector('#change textarea').focus()"


class SearchTab:
    """Built inside `gr.Blocks`: its parts, and what happens when they are used."""

    def __init__(self, search: PictureSearch) -> None:
        self._search = search
        self._session, self._page = gr.State(Session()), gr.State(0)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self._choose()
            with gr.Column(scale=3, min_width=320):
                self._text = gr.Textbox(
                    label="What should be different?",
                    placeholder="make it red",
                    lines=1,
                    max_lines=4,
                    max_length=MOST_WORDS,
                    elem_id="change",
                )
                with gr.Row():
                    self._button = gr.Button("Search", variant="primary", elem_id="search")
                    self._reset = gr.Button("Start over", elem_id="reset")
                self._message = gr.HTML(elem_id="search-message")
                self._history = gr.HTML(js_on_load=CLICKS, elem_id="history")
                self._results = gr.HTML(js_on_load=CLICKS, elem_id="results")
        self._connect()

    def _choose(self) -> None:
        """How a picture is chosen."""
        self._asked = gr.HTML(parts.asked(Session()), elem_id="asked")
        self._drop = gr.File(
            label="Drop a picture, or click to choose one", file_types=[*PICTURES], height=170, elem_id="drop"
        )
        with gr.Accordion(f"Or take one of the {len(self._search):,} images", open=False, elem_id="choose"):
            self._part = gr.Textbox(label="With this in the name", max_lines=1, max_length=200)
            self._gallery = gr.HTML(self._tiles("", 0), js_on_load=CLICKS, elem_id="gallery")
            self._more = gr.Button("Others", size="sm")

    def _connect(self) -> None:
        shown = [self._message, self._session, self._asked, self._text, self._history, self._results]
        dropped = self._drop.upload(answering(self._dropped, 5), self._drop, shown, **private())
        dropped.then(lambda: None, None, self._drop, **private())  # after a bad one, too, there is room for another
        self._gallery.select(answering(self._chosen, 5), None, shown, **private())
        asked = [self._text, self._session]
        gr.on([self._button.click, self._text.submit], answering(self._ask, 5), asked, shown, **private(ONE_AT_A_TIME))
        self._results.select(answering(self._go_on, 5), self._session, shown, **private()).then(None, js=_TO_TEXT)
        self._history.select(answering(self._back, 5), self._session, shown, **private(ONE_AT_A_TIME))
        self._reset.click(answering(self._over, 5), None, shown, **private())
        page = [self._part, self._page]
        self._part.change(lambda part: (0, self._tiles(part, 0)), self._part, [self._page, self._gallery], **private())
        self._more.click(
            lambda part, page: (page + 1, self._tiles(part, page + 1)), page, [self._page, self._gallery], **private()
        )

    def _tiles(self, part: str, page: int) -> str:
        images, number = self._search.gallery(part, page)
        return parts.gallery(images, number, len(self._search))

    def _dropped(self, path: str) -> tuple[Any, ...]:
        session = Session().begin(*dropped_picture(path))
        return _shown(session, "", "Now type what should be different, or search with the picture alone.")

    def _chosen(self, event: gr.EventData) -> tuple[Any, ...]:
        image = self._search.image(event.image)
        session = Session().begin(image.path, image.image_id)
        return _shown(session, "", "Now type what should be different, or search with the picture alone.")

    def _ask(self, text: str, session: Session) -> tuple[Any, ...]:
        asked = session.ask(text)
        return _shown(asked, text, "", self._search.search(asked.rounds[-1]))

    def _go_on(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        image = self._search.image(event.image)
        words = f"Round {len(session.rounds) + 1} starts from {image.image_id}: type what should be different now."
        return (*_shown(session.go_on(image.path, image.image_id), "", words)[:-1], gr.skip())

    def _back(self, session: Session, event: gr.EventData) -> tuple[Any, ...]:
        before = session.back_to(event.round)
        asked = before.rounds[-1]
        return _shown(before, asked.text, "", self._search.search(asked))

    def _over(self) -> tuple[Any, ...]:
        return _shown(Session(), "", "")


def _shown(session: Session, text: str, message: str, found: list[Found] | None = None) -> tuple[Any, ...]:
    """All that changes with the session: message, session, picture, text, rounds, results."""
    results = "" if found is None else parts.results(found)
    return parts.message(message), session, parts.asked(session), text, parts.history(session.rounds), results
