"""The tab that captions: a photo and its article to a caption, its names checked, with the chosen evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from diptych.api.captioner import Captioner
from diptych.app import parts
from diptych.app.answers import ONE_AT_A_TIME, answering, private
from diptych.app.photo_caption import caption_photo
from diptych.app.uploads import ARTICLES, MOST_CHARACTERS, PICTURES, dropped_picture


class CaptionTab:
    """Built inside `gr.Blocks`: its parts, and what happens when they are used."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self._photo = gr.State(None)  # its file
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                self._shown = gr.HTML(elem_id="photo")
                self._drop = gr.File(
                    label="Drop a photo, or click to choose one",
                    file_types=[*PICTURES],
                    height=170,
                    elem_id="drop-photo",
                )
                self._base_caption = gr.Textbox(
                    label="What does it show?",
                    info="In a sentence: the language model sees no pixels.",
                    max_lines=3,
                    max_length=2000,
                    elem_id="base-caption",
                )
                self._title = gr.Textbox(label="Title of the article", max_lines=2, max_length=500)
                self._date = gr.Textbox(label="Its date", placeholder="2022-02-27", max_lines=1, max_length=40)
                self._text = gr.Textbox(
                    label="Its text", lines=6, max_lines=12, max_length=MOST_CHARACTERS, elem_id="article"
                )
                self._file = gr.File(
                    label="Or its file, .txt or .json", file_types=[*ARTICLES], height=170, elem_id="drop-article"
                )
            with gr.Column(scale=2, min_width=320):
                self._button = gr.Button("Write the caption", variant="primary", elem_id="write")
                self._message = gr.HTML(elem_id="caption-message")
                self._caption = gr.HTML(elem_id="caption")
        shown = [self._message, self._photo, self._shown, self._caption]
        dropped = self._drop.upload(answering(self._dropped, 3), self._drop, shown, **private())
        dropped.then(lambda: None, None, self._drop, **private())  # after a bad one, too, there is room for another
        given = [self._photo, self._text, self._file, self._title, self._date, self._base_caption]
        self._button.click(answering(self._write, 1), given, [self._message, self._caption], **private(ONE_AT_A_TIME))

    def _dropped(self, path: str) -> tuple[Any, ...]:
        file, name = dropped_picture(path)
        return "", file, parts.photo(file, name), ""

    def _write(
        self, photo: Path | None, text: str, file: str | None, title: str, date: str, base_caption: str
    ) -> tuple[Any, ...]:
        article = None if file is None else Path(file)
        return "", parts.caption(caption_photo(self._captioner, photo, text, article, title, date, base_caption))
