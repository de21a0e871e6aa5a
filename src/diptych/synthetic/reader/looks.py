"""What a reader makes of pictures, and what it says of them: descriptions, descriptions in another's words, changes.

`threshold` is in natural log-odds: how much likelier something must be than what speaks against it, to be said. Every
rule here claims fewer changes, or as many, when it grows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.synthetic.reader.fields import FIELDS, FIELDS_OF, PRESENCE, PRESENCE_OF
from diptych.synthetic.scenes import Change, Item

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One picture: the log-probabilities of the values of each of `FIELDS`."""

    log_probs: Sequence[Array]

    def best(self, place: int) -> Any:
        """The likeliest value of a field."""
        return FIELDS[place].values[int(self.log_probs[place].argmax())]

    def besides(self, place: int, value: Any) -> Any:
        """The likeliest value of a field that is not this one."""
        values = FIELDS[place].values
        return values[max((at for at in range(len(values)) if values[at] != value), key=self.log_probs[place].item)]

    def margin(self, place: int) -> float:
        """How much likelier the best value of a field is than the second."""
        second, first = np.sort(self.log_probs[place])[-2:]
        return float(first - second)

    def over(self, place: int, value: Any) -> float:
        """How much likelier the best value of a field is than this one."""
        log_probs = self.log_probs[place]
        return float(log_probs.max() - log_probs[FIELDS[place].values.index(value)])


@dataclass(frozen=True, slots=True)
class PairLook:
    """Two pictures: the log-odds that each of `FIELDS` changed, and what it is in either, as `Look` has it."""

    changed: Array
    before: Look
    after: Look


def described(look: Look, threshold: float) -> dict[str, Item]:
    """The objects that are likelier there than not, each as `_item` describes it."""
    return {
        name: _item(look, name, threshold)
        for name in FIELDS_OF
        if name not in PRESENCE_OF or look.best(PRESENCE_OF[name])
    }


def _item(look: Look, name: str, threshold: float) -> Item:
    """An object's attributes that are likelier by `threshold` than any other value, and the surest in any case."""
    places = FIELDS_OF[name]
    surest = max(places, key=look.margin)
    said = [place for place in places if place == surest or look.margin(place) >= threshold]
    return Item(**{FIELDS[place].attribute: look.best(place) for place in said})


def described_again(look: Look, given: Mapping[str, Item], threshold: float) -> dict[str, Item]:
    """The objects in the words of a description of a similar room: what `given` says stands unless something else is
    likelier by more than `threshold`. That holds for each attribute that it names, and for what is there. An object
    that is new is described as `described` does it.
    """
    items = {}
    for name, places in FIELDS_OF.items():
        there = name in given
        if name in PRESENCE_OF and look.over(PRESENCE_OF[name], there) > threshold:
            there = not there
        if there and name not in given:
            items[name] = _item(look, name, threshold)
        elif there:
            said = {place: getattr(given[name], FIELDS[place].attribute) for place in places}
            values = {
                FIELDS[place].attribute: look.best(place) if look.over(place, value) > threshold else value
                for place, value in said.items()
                if value is not None
            }
            items[name] = Item(**values)
    return items


def changes_seen(look: PairLook, threshold: float) -> list[Change]:
    """The changes whose log-odds exceed `threshold`, the likeliest first. What appears or goes is one change, whatever
    its attributes.
    """
    places = [place for place in np.argsort(-look.changed, kind="stable").tolist() if look.changed[place] > threshold]
    whole = {FIELDS[place].object for place in places if FIELDS[place].attribute == PRESENCE}
    changes = []
    for place in places:
        name, attribute = FIELDS[place].object, FIELDS[place].attribute
        old = look.before.best(place)
        if attribute == PRESENCE:
            item = _item(look.before if old else look.after, name, threshold=0.0)
            changes.append(Change(name, PRESENCE, item if old else None, None if old else item))
        elif name not in whole:
            changes.append(Change(name, attribute, old, look.after.besides(place, old)))
    return changes
