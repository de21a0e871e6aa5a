"""What a kind of news event is made of: where it can happen, who takes part, why, in which numbers, in which words.

The kinds stand in `openings.yaml`, `incidents.yaml` and `gatherings.yaml`. All texts are templates (see `wording`).
Slots: `{venue}`, `{city}`, `{country}`, `{work}` (a ship, an exhibition, a cup), `{main}`, `{main_last}`, `{second}`,
`{second_last}`, `{organisation}`, `{river}`, `{currency}`, `{year}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diptych.synthetic.newsroom.texts import read_texts


@dataclass(frozen=True, slots=True)
class QuantityKind:
    """A number that an event has. `clauses` say it, `{n}` being the number; all of them mean the same.

    The number is a multiple of `step` between `low` and `high`.
    """

    name: str
    low: int
    high: int
    step: int
    clauses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Visible:
    """The picture of an event in words: `phrase` in half a sentence, `caption` in one or two whole ones.

    Between `fewest` and `most` of its things are counted; slots are `{count}`, `{colour}` and `{people}`.
    """

    fewest: int
    most: int
    phrase: str
    caption: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event.

    Attributes:
        name: Its key in `facts.json`, and the picture that is drawn of it.
        repeats: Whether it can happen at one venue more than once.
        occasion: What the event is called when it is mentioned again.
        venues: Names of venues; `{word}` is an invented name.
        works: Names of what the event is about beside its venue; empty where there is none.
        organisations: Who was in charge; `{word}` as above.
        in_charge: What the organisation did, for "which ...".
        main_roles: What the person who matters most is.
        second_roles: What the other person is.
        noun: The event as a noun phrase.
        clauses: The event as a sentence without a full stop, in the past tense, without time and town.
        acts: What the main person did, after the name, in the past tense.
        quantities: The three numbers; the first is told in every caption, the last in none.
        reasons: Why, as it follows "because".
        quotes: What the main or second person says.
        asides: True sentences of this kind of event that no caption needs.
        titles: Headlines.
        visible: What a photograph shows.
    """

    name: str
    repeats: bool
    occasion: str
    venues: tuple[str, ...]
    works: tuple[str, ...]
    organisations: tuple[str, ...]
    in_charge: str
    main_roles: tuple[str, ...]
    second_roles: tuple[str, ...]
    noun: str
    clauses: tuple[str, ...]
    acts: tuple[str, ...]
    quantities: tuple[QuantityKind, QuantityKind, QuantityKind]
    reasons: tuple[str, ...]
    quotes: tuple[str, ...]
    asides: tuple[str, ...]
    titles: tuple[str, ...]
    visible: Visible


def _kind(name: str, entry: Mapping[str, Any]) -> Kind:
    quantities = tuple(QuantityKind(**quantity) for quantity in entry["quantities"])
    return Kind(name=name, **{**entry, "quantities": quantities, "visible": Visible(**entry["visible"])})


# In this order: a family's number decides its kind.
KINDS: Mapping[str, Kind] = {
    name: _kind(name, entry)
    for file in ("openings", "incidents", "gatherings")
    for name, entry in read_texts(file).items()
}
