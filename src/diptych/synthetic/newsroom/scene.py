"""What a photograph of an event shows, and the words for what is visible: no name, place, date or reason."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from diptych.synthetic.newsroom.events import Event
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
_INDOORS = ("exhibition", "treaty_signing")
_LIGHT_WORDS = {
    "clear": "[The sky is blue with a few clouds|It is a bright day|The light is clear]",
    "overcast": "[The sky is grey|Low clouds cover the sky|The light is dull]",
    "dusk": "[The light is that of dusk|The sky glows orange|It is getting dark]",
}
# What is counted (lowest and highest number), the picture in half a sentence, and in one or two whole ones.
_VISIBLE: Mapping[str, tuple[int, int, str, str]] = {
    "bridge_opening": (
        2, 3,
        "a [crowd|group of people] in front of a bridge with {colour} towers",
        "{people} [stand|wait] [on the bank|by the water] in front of a bridge with {count} {colour} towers. "
        "A [ribbon|band] is stretched between two posts",
    ),
    "ship_launch": (
        1, 3,
        "[people|onlookers] on a quay below a {colour} ship",
        "[A large|The hull of a] {colour} ship towers over a quay where {people} look on. "
        "Behind it [stand|rise] {count} [cranes|dockside cranes], and bunting hangs above",
    ),
    "railway_opening": (
        2, 4,
        "a {colour} train beside a platform with [people|passengers]",
        "A {colour} train of {count} carriages stands at a platform. {people} [wait|stand] under a roof on posts",
    ),
    "wind_farm": (
        3, 7,
        "[wind turbines|a row of wind turbines] on a green hill",
        "{count} white wind turbines stand on green hills. In the foreground are {people} next to a {colour} van",
    ),
    "flood": (
        1, 3,
        "a street under brown water with {colour} [boats|dinghies]",
        "Brown water [covers|fills] a street between houses, up to the windows of the ground floor. "
        "{people} [wade|stand] in the water or sit in {count} {colour} [boats|dinghies]",
    ),
    "warehouse_fire": (
        1, 2,
        "flames and [black|dark] smoke above a long building",
        "Flames [shoot|come] out of a long building, and dark smoke [drifts|rises] over its roof. "
        "{count} {colour} fire engines and {people} are in front of it",
    ),
    "protest_march": (
        6, 12,
        "a crowd with [placards|signs] behind a {colour} banner",
        "{people} walk [down|along] a street behind a long {colour} banner. {count} of them hold up placards",
    ),
    "excavation": (
        1, 3,
        "people [kneeling|at work] in a trench beside {colour} tents",
        "{people} [work|are at work] around a rectangular trench in a field. "
        "{count} {colour} tents stand [at the edge|nearby], and pots and stones lie in the earth",
    ),
    "cup_final": (
        7, 11,
        "[footballers|players] in {colour} on a pitch before a full stand",
        "{count} players in {colour} shirts [are spread over|run across] a striped green pitch, with opponents in "
        "another colour. The stand behind them is full of spectators",
    ),
    "exhibition": (
        3, 5,
        "visitors in front of paintings on a {colour} wall",
        "{count} framed paintings hang on a {colour} wall in a bright hall. {people} [look at them|stand before them], "
        "and a sculpture is on a plinth",
    ),
    "music_festival": (
        3, 6,
        "a [crowd|dense crowd] before a stage in {colour} light",
        "A stage is lit by {count} beams of {colour} light. [Musicians|Performers] stand on it, and {people} "
        "[raise their arms|are seen from behind] in front of it",
    ),
    "treaty_signing": (
        4, 9,
        "[delegates|people in suits] at a table before a row of flags",
        "{people} in dark suits [sit|stand] behind a long table with a {colour} cloth. "
        "Behind them is a row of {count} flags, and papers and glasses are on the table",
    ),
}  # fmt: skip


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
    low, high, _, _ = _VISIBLE[event.kind]
    crowded = event.kind in ("protest_march", "music_festival", "ship_launch", "bridge_opening")
    return Scene(
        kind=event.kind,
        look_seed=event.town.look_seed,
        detail_seed=int(rng.integers(2**31)),
        light=pick(rng, LIGHTS),
        colour=pick(rng, COLOURS),
        count=int(rng.integers(low, high + 1)),
        num_people=int(rng.integers(22, 46)) if crowded else int(rng.integers(4, 11)),
    )


def visible_phrase(scene: Scene, rng: np.random.Generator) -> str:
    """The picture as a noun phrase, such as `a crowd in front of a bridge with red towers`."""
    return _with_articles(fill(_VISIBLE[scene.kind][2], {"colour": scene.colour}, rng))


def base_caption(scene: Scene, rng: np.random.Generator) -> str:
    """Two or three sentences on what is visible."""
    people = (
        "[dozens of people|many people|a great number of people]"
        if scene.num_people > 12
        else f"{_NUMBER_WORDS[scene.num_people]} people"
    )
    slots = {"people": people, "count": _NUMBER_WORDS[scene.count], "colour": scene.colour}
    text = fill(_VISIBLE[scene.kind][3], slots, rng)
    if scene.kind not in _INDOORS:
        text += ". " + fill(_LIGHT_WORDS[scene.light], {}, rng)
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
