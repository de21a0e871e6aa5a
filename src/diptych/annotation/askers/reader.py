"""Questions to a reader: a small network in this process that reads pictures of generated rooms, and errs."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from diptych.annotation.answers import ImageDescription, fewest_sentences
from diptych.annotation.askers.in_turn import ask_in_turn, picture_of
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.synthetic.reader.looks import changes_seen, described, described_again
from diptych.synthetic.reader.reader import Reader, ReaderSettings
from diptych.synthetic.server.rooms_answers import Asked, read_request
from diptych.synthetic.server.rooms_language import Items, changes_between, is_result, is_true, read_items
from diptych.synthetic.server.rooms_wording import PROMINENCE, Wording, say_changes


class ReaderAsker:
    """Asks a reader of `settings`, whose networks are kept in `folder`, and trained there on first use. It knows a
    question by its form, as the annotation server does, and answers with the words of that server.

    `threshold` is how sure it must be of what it says, in natural log-odds: that an attribute has this value and no
    other; that something is not as the description says in whose words it describes a picture; of two pictures, that
    something has changed. Of two descriptions it says what differs.

    Raises:
        ValueError: `threshold` is no number; when asked, the folder holds something else.
    """

    price_factor = 0.0

    def __init__(self, folder: str | Path, settings: ReaderSettings, threshold: float = 2.0) -> None:
        if threshold != threshold:
            raise ValueError(f"threshold={threshold} is no number")
        self.folder, self.settings, self.threshold = Path(folder), settings, threshold

    @property
    def model(self) -> str:
        """All that decides its answers, so that no ledger takes one reader's for another's."""
        read = self.settings
        return f"reader-w{read.width}-n{read.steps}-h{read.num_hotels}-s{read.seed}-t{self.threshold}"

    @cached_property
    def reader(self) -> Reader:
        """The reader, not trained yet."""
        return Reader(self.folder, self.settings)

    def ask(self, questions: Iterable[Question], ledger: Ledger) -> Iterator[tuple[str, Answer | Failure]]:
        """As `ask_in_turn`."""
        return ask_in_turn(questions, ledger, self._result)

    def _result(self, question: Question) -> Answer | Failure:
        started = time.monotonic()
        try:
            body = {"messages": question.messages(), "response_format": question.response_format}
            asked = read_request(body, lambda image: picture_of(image["url"]))
        except ValueError as error:
            return Failure(question.record_id, "unreadable", str(error))
        answer = self.answer(asked, random.Random(question.key))
        if answer is None:
            return Failure(question.record_id, "bad_request", "a reader answers questions about rooms, and no others")
        return Answer(json.dumps(answer), "stop", {}, time.monotonic() - started)

    def answer(self, asked: Asked[Image.Image], rng: random.Random) -> Mapping[str, Any] | None:
        """`{"objects": [...]}`, `{"sentences": [...]}`, `{"holds": bool}` or `{"answer": "yes" or "no"}`; None to a
        question of another kind. `rng` decides between nouns and adjectives that mean the same.
        """
        if asked.kind == "describe_reference":
            return {"objects": _worded(described(self.reader.look(*asked.pictures), self.threshold), (), asked)}
        if asked.kind == "describe_target":
            (given,) = asked.lists
            seen = described_again(self.reader.look(*asked.pictures), read_items(given), self.threshold)
            return {"objects": _worded(seen, given, asked)}
        if asked.kind == "write_modifications":
            before, after = (read_items(objects) for objects in asked.lists)
            changes = changes_between(before, after)
            # What stages of annotation accept: as many as objects are in other words, whether they changed or not.
            fewest = fewest_sentences(*(ImageDescription.model_validate({"objects": one}) for one in asked.lists))
            return {"sentences": say_changes(changes, before, after, rng, fewest=fewest)}
        if asked.kind == "one_stage":
            look = self.reader.compare(*asked.pictures)
            before, after = described(look.before, 0.0), described(look.after, 0.0)
            changes = changes_seen(look, self.threshold)
            return {"sentences": say_changes(changes, before, after, rng, fewest=0)}
        if asked.kind in ("verify", "candidate"):
            before = described(self.reader.look(asked.pictures[0]), 0.0)
            after = described_again(self.reader.look(asked.pictures[1]), before, self.threshold)
            if asked.kind == "candidate":
                return {"answer": "yes" if is_result(asked.sentence, before, after) else "no"}
            return {"holds": is_true(asked.sentence, before, after)}
        return None


def _worded(items: Items, given: Sequence[Mapping[str, Any]], asked: Asked[Image.Image]) -> list[dict[str, Any]]:
    """The most prominent objects. What is the same is always said in the same words."""
    wording = Wording(given)
    kinds = [kind for kind in PROMINENCE if kind in items][: asked.max_objects]
    return [wording.of(kind, items[kind], random.Random(kind)) for kind in kinds]
