"""What a photograph of an event shows, and the words for what is visible: no name, place, date or reason."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diptych.synthetic.newsroom.events import Event
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.texts import read_texts
from diptych.synthetic.newsroom.wording import fill, pick, sentence

COLOURS = ("red", "blue", "green", "yellow", "orange", "white", "purple")
LIGHTS = ("clear", "overcast", "dusk")
_NUMBER_WORDS = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
INDOORS = ("exhibition", "treaty_signing")


@dataclass(frozen=True, slots=True)
class Scene:
    """What is in front of the camera; the same for all photographs of an event.

    Attributes:
        kind: The event's kind, which decides what is drawn.
        look_seed: The look of the town.
        detail_seed: Everything that has no words: who stands where, in which coat.
        light: One of `LIGHTS`; rooms have none in their captions.
        colour: Of the object that the captions give a colour.
        count: How many of the kind's things there are: towers, boats, placards.
        num_people: How many people stand in the foreground.
    """

    kind: str
    look_seed: int
    detail_seed: int
    light: str
    colour: str
    count: int
    num_people: int

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def sample_scene(event: Event, rng: np.random.Generator) -> Scene:
    """A scene of the event's kind in its town."""
    visible = KINDS[event.kind].visible
    crowded = event.kind in ("protest_march", "music_festival", "ship_launch", "bridge_opening")
    return Scene(
        kind=event.kind,
        look_seed=event.town.look_seed,
        detail_seed=int(rng.integers(2**31)),
        light=pick(rng, LIGHTS),
        colour=pick(rng, COLOURS),
        count=int(rng.integers(visible.fewest, visible.most + 1)),
        num_people=int(rng.integers(22, 46)) if crowded else int(rng.integers(4, 11)),
    )


def visible_phrase(scene: Scene, rng: np.random.Generator) -> str:
    """The picture as a noun phrase, such as `a crowd in front of a bridge with red towers`."""
    return _with_articles(fill(KINDS[scene.kind].visible.phrase, {"colour": scene.colour}, rng))


def base_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Two or three sentences on what is visible."""
    people = (
        "[dozens of people|many people|a great number of people]"
        if scene.num_people > 12
        else f"{_NUMBER_WORDS[scene.num_people]} people"
    )
    slots = {"people": people, "count": _NUMBER_WORDS[scene.count], "colour": scene.colour}
    text = fill(KINDS[scene.kind].visible.caption, slots, rng)
    if scene.kind not in INDOORS:
        text += ". " + fill(read_texts("captions")["light"][scene.light], {}, rng)
    if scene.count == 1:
        for many, one in _SINGULAR.items():
            text = text.replace(many, one)
    return _with_articles(" ".join(sentence(part) for part in text.split(". ")))


def _with_articles(text: str) -> str:
    """`an` before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeio])", r"\1n ", text)


_SINGULAR = {
    "rise one cranes": "rises one crane", "stand one cranes": "stands one crane",
    "rise one dockside cranes": "rises one dockside crane", "stand one dockside cranes": "stands one dockside crane",
    "boats": "boat", "dinghies": "dinghy", "fire engines": "fire engine", "tents stand": "tent stands",
}  # fmt: skip
