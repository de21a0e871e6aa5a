"""Questions about rooms, told apart by their shape, and true answers with a chosen rate of untrue ones.

How many pictures a request carries, which lists of objects its text holds as JSON, and what its response format asks
for say what is asked; the wording of a prompt does not. An answer depends on these and on nothing else, so that a
question asked again, or asked with an earlier answer and what was wrong with it, is answered alike.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from diptych.synthetic.server.faults import chance
from diptych.synthetic.server.rooms_images import Picture, RoomsFolder
from diptych.synthetic.server.rooms_language import (
    Items,
    changes_between,
    is_own,
    is_result,
    is_true,
    kind_of,
    kinds_in,
    misdescribed,
    read_items,
)
from diptych.synthetic.server.rooms_wording import PROMINENCE, Wording, say_changes

_LIMIT = re.compile(r"\b(?:up to|at most|no more than|maximum of) (\d+)|\b(\d+) (?:at (?:the )?most|or fewer)", re.I)
ANSWERS = ("objects", "sentences", "holds", "answer")
Shown = TypeVar("Shown")  # what stands for a picture


@dataclass(frozen=True, slots=True)
class Untruth:
    """How often an answer is untrue, as shares: sentences about changes in the text-only stage and in the stage with
    both pictures, described objects, and yes or no to a candidate.
    """

    sentences: float = 0.0
    one_stage_sentences: float = 0.0
    objects: float = 0.0
    candidates: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked(Generic[Shown]):
    """What a chat request asks: `kind` in a word, the pictures, the lists of objects and the sentence to check."""

    kind: str
    pictures: tuple[Shown, ...] = ()
    lists: tuple[Sequence[Mapping[str, Any]], ...] = ()
    sentence: str = ""
    max_objects: int = len(PROMINENCE)


def read_question(body: Mapping[str, Any], rooms: RoomsFolder | None) -> Asked[Picture]:
    """What a request's body asks; kind `other` for a text without lists of objects.

    Raises:
        ValueError: it is no chat request, shows an unknown picture, or has a shape that no question has.
    """

    def recognised(image: Mapping[str, Any]) -> Picture:
        if rooms is None:
            raise ValueError("this server was started without pictures: name a rooms set with --scenes")
        return replace(rooms.recognise(image["url"]), detail=image.get("detail") or "auto")

    return read_request(body, recognised)


def read_request(body: Mapping[str, Any], picture_of: Callable[[Mapping[str, Any]], Shown]) -> Asked[Shown]:
    """As `read_question`; `picture_of` makes of each of the request's `image_url` what stands for its picture."""
    texts, images = _parts(body)
    pictures = tuple(picture_of(image) for image in images)
    text = "\n".join(texts)
    lists, rest = _object_lists(text)
    own = tuple(objects for objects in lists if is_own(objects))
    if pictures or len(own) >= 2:  # what is in other words is an example
        lists = own
    answer, most = _asked_form(body.get("response_format"))
    answer = answer or _guessed_form(len(pictures), len(lists), text)
    limits = [int(one or other) for one, other in _LIMIT.findall(rest)] if answer == "objects" else []
    max_objects = min([most or len(PROMINENCE), *limits])
    if answer == "objects" and pictures:
        kind = "describe_target" if lists else "describe_reference"
        return Asked(kind, pictures[-1:], lists[:1], max_objects=max_objects)
    if answer == "sentences" and not pictures and len(lists) >= 2:
        return Asked("write_modifications", lists=lists[:2])
    if answer == "sentences" and len(pictures) == 2:
        return Asked("one_stage", pictures)
    if answer in ("holds", "answer") and len(pictures) == 2:
        naming = [line for line in rest.splitlines() if kinds_in(line)]
        kind = "verify" if answer == "holds" else "candidate"
        return Asked(kind, pictures, sentence=naming[-1] if naming else "")
    if not answer and not pictures:
        return Asked("other", sentence=text)
    raise ValueError(
        f"cannot tell what is asked: {answer or 'no known form'} with {len(pictures)} pictures and {len(lists)} lists"
        " of objects; objects want a picture, sentences two lists or two pictures, holds and answer two pictures"
    )


class RoomsAnswers:
    """Answers to questions about the pictures of a set. `seed` decides where they are untrue, and their wording."""

    def __init__(self, rooms: RoomsFolder | None, untruth: Untruth, seed: int = 0) -> None:
        self._rooms, self._untruth, self._seed = rooms, untruth, seed

    def answer(self, asked: Asked[Picture]) -> dict[str, Any] | str:
        """`{"objects": [...]}`, `{"sentences": [...]}`, `{"holds": bool}`, `{"answer": "yes" or "no"}`, or a text to a
        question of kind `other`.
        """
        if asked.kind == "other":
            return f"Your question has {len(asked.sentence.split())} words."
        scenes = [self._rooms.items(picture.number) for picture in asked.pictures] if self._rooms else []
        numbers = tuple(picture.number for picture in asked.pictures)
        substance = (self._seed, asked.kind, numbers, json.dumps(asked.lists), asked.sentence, asked.max_objects)
        rng = random.Random(int(chance(*substance) * 2**53))
        if asked.kind in ("describe_reference", "describe_target"):
            return {"objects": self._objects(scenes[0], asked, rng)}
        if asked.kind == "verify":
            return {"holds": is_true(asked.sentence, *scenes)}
        if asked.kind == "candidate":
            wrong = rng.random() < self._untruth.candidates
            return {"answer": "no" if is_result(asked.sentence, *scenes) == wrong else "yes"}
        if asked.kind == "one_stage":
            before, after = scenes
            return {"sentences": _sentences(before, after, self._untruth.one_stage_sentences, rng)}
        before, after = (read_items(objects) for objects in asked.lists)
        return {"sentences": _sentences(before, after, self._untruth.sentences, rng)}

    @property
    def certainty(self) -> float:
        """The share of true verdicts about candidates: as sure as it is right is how sure it says it is."""
        return 1 - self._untruth.candidates

    def _objects(self, items: Items, asked: Asked[Picture], rng: random.Random) -> list[dict[str, Any]]:
        """The most prominent objects; what the given list has in the same state is repeated from it word for word."""
        wording = Wording(asked.lists[0] if asked.lists else ())
        objects = []
        for kind in [kind for kind in PROMINENCE if kind in items][: asked.max_objects]:
            item = items[kind]
            if rng.random() < self._untruth.objects:
                item = misdescribed(kind, item, rng)
            objects.append(wording.of(kind, item, rng))
        return objects


def _sentences(before: Items, after: Items, untrue: float, rng: random.Random) -> list[str]:
    """What differs, in random order."""
    changes = changes_between(before, after)
    rng.shuffle(changes)
    return say_changes(changes, before, after, rng, untrue)


# ----------------------------------------------------------------------------------------------- reading a request


def _parts(body: Mapping[str, Any]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """The texts and the images of what the user says; earlier answers are not part of the question."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("'messages' must be a list of at least one message")
    texts: list[str] = []
    images: list[Mapping[str, Any]] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if message.get("role") == "assistant":
            continue
        parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        for part in parts:
            if part.get("type") == "image_url":
                images.append(part["image_url"])
            elif part.get("type") == "text":
                texts.append(part["text"])
            else:
                raise ValueError(f"content of type {part.get('type')!r}: want text or image_url")
    return texts, images


def _object_lists(text: str) -> tuple[tuple[Sequence[Mapping[str, Any]], ...], str]:
    """The lists of objects that a text holds as JSON, in its order, and the text without them."""
    lists, rest, position = [], "", 0
    decoder = json.JSONDecoder()
    while opening := re.compile(r"[\[{]").search(text, position):
        rest += text[position : opening.start()]
        try:
            value, position = decoder.raw_decode(text, opening.start())
        except ValueError:
            position = opening.end()
            continue
        objects = _as_objects(value)
        if objects is None:
            rest += json.dumps(value)
        else:
            lists.append(objects)
    return tuple(lists), rest + text[position:]


def _as_objects(value: Any) -> list[Mapping[str, Any]] | None:
    """`{"objects": [...]}`, a bare list, or `{name: descriptors}`; None for anything else."""
    if isinstance(value, dict) and isinstance(value.get("objects"), list):
        value = value["objects"]
        if not value:
            return value
    elif isinstance(value, dict) and value and all(kind_of(name) and isinstance(value[name], list) for name in value):
        value = [{"name": name, "descriptors": value[name]} for name in value]
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and {"name", "descriptors"} <= set(item) for item in value)
    ):
        return value
    return None


def _asked_form(response_format: Any) -> tuple[str, int | None]:
    """The key of the answer that a response format asks for, "" where it leaves it open, and its longest list."""
    if not isinstance(response_format, dict) or response_format.get("type") in ("text", "json_object"):
        return "", None
    try:
        properties = response_format["json_schema"]["schema"]["properties"]
        form = next(name for name in ANSWERS if name in properties)
    except (KeyError, TypeError, StopIteration):
        raise ValueError(f"response_format: want a json_schema with one of {', '.join(ANSWERS)} at its top") from None
    return form, properties[form].get("maxItems")


def _guessed_form(num_pictures: int, num_lists: int, text: str) -> str:
    if num_pictures == 2:
        return next((form for form in ("holds", "answer") if f'"{form}"' in text), "sentences")
    if num_pictures == 1:
        return "objects"
    return "sentences" if num_lists >= 2 else ""
