"""Invented names of people and towns, in three sounds, so that a name and its country go together.

Towns and people are combinations of parts; the countries alone are real. Any likeness is chance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.synthetic.newsroom.texts import read_texts


@dataclass(frozen=True, slots=True)
class Country:
    """A country, how its people are called as an adjective, and the money that costs are told in."""

    name: str
    adjective: str
    currency: str


@dataclass(frozen=True, slots=True)
class Culture:
    """Parts of names that go together; a town is one start and one end, a person one given and one family name."""

    given: tuple[str, ...]
    family: tuple[str, ...]
    town_starts: tuple[str, ...]
    town_ends: tuple[str, ...]
    countries: tuple[Country, ...]


# In this order: a family's number decides its culture.
CULTURES = tuple(
    Culture(**{**entry, "countries": tuple(Country(**country) for country in entry["countries"])})
    for entry in read_texts("names")["cultures"].values()
)


class NamePool:
    """Hands out names of one culture in a seeded order, each only once."""

    def __init__(self, culture: Culture, rng: np.random.Generator) -> None:
        self.culture = culture
        self._people = _shuffled([f"{given} {family}" for given in culture.given for family in culture.family], rng)
        starts_and_ends = [(start, end) for start in culture.town_starts for end in culture.town_ends]
        self._towns = _shuffled([start + end for start, end in starts_and_ends if start[-1] != end[0]], rng)

    def person(self, taken: Collection[str] = ()) -> str:
        """A full name that nobody has yet, with a family name that is not among the taken ones.

        Raises:
            ValueError: all names are taken.
        """
        free = (index for index, name in enumerate(self._people) if name.rsplit(" ", 1)[1] not in taken)
        return _take(self._people, next(free, None), "people")

    def town(self) -> str:
        """The name of a town that is not there yet.

        Raises:
            ValueError: all names are taken.
        """
        return _take(self._towns, 0 if self._towns else None, "towns")


def _shuffled(names: Sequence[str], rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.permutation(len(names)).tolist()]


def _take(names: list[str], index: int | None, what: str) -> str:
    if index is None:
        raise ValueError(f"the names of {what} are used up: ask for a newsroom set of fewer families")
    return names.pop(index)
