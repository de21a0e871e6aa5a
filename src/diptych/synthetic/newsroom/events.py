"""Invented news events as exact facts: what, who, where, when, why and how many."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np

from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.names import Country
from diptych.synthetic.newsroom.wording import fill


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who takes part; what follows `role` is true, and no caption needs it."""

    name: str
    role: str
    born: int
    home_town: str
    earlier_job: str
    hobby: str

    @property
    def last_name(self) -> str:
        """The family name, by which articles call people the second time."""
        return self.name.rsplit(" ", 1)[1]


@dataclass(frozen=True, slots=True)
class Town:
    """Where events happen. Its venues look alike in all pictures: `look_seed` decides the houses."""

    name: str
    country: Country
    river: str
    population: int
    founded: int
    newspaper: str
    known_for: str
    street: str
    look_seed: int


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of an event. `text` is how it is written, with its unit as `clauses` say it."""

    name: str
    value: int
    text: str
    clauses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """One event, complete; all strings are final texts.

    `shares_town_with` and `shares_person_with` are the numbers of the events that are mistaken for this one.
    """

    number: int
    split: str
    family: int
    kind: str
    town: Town
    venue: str
    work: str
    day: date
    main: Person
    second: Person
    witness: Person
    organisation: str
    quantities: tuple[Quantity, ...]
    act: str
    reason: str
    since: int
    american_date: bool
    shares_town_with: tuple[int, ...] = ()
    shares_person_with: tuple[int, ...] = ()

    @property
    def date_text(self) -> str:
        """The day as this event's texts write it: `14 March 2016` or `March 14, 2016`."""
        month = self.day.strftime("%B")
        if self.american_date:
            return f"{month} {self.day.day}, {self.day.year}"
        return f"{self.day.day} {month} {self.day.year}"

    def slots(self) -> dict[str, str]:
        """What the templates of a kind may ask for."""
        return {
            "venue": self.venue,
            "city": self.town.name,
            "country": self.town.country.name,
            "currency": self.town.country.currency,
            "river": self.town.river,
            "work": self.work,
            "main": self.main.name,
            "main_last": self.main.last_name,
            "second": self.second.name,
            "second_last": self.second.last_name,
            "organisation": self.organisation,
            "act": self.act,
            "reason": self.reason,
            "year": str(self.since),
        }

    def to_json(self) -> dict[str, Any]:
        """The facts under the five Ws, then what no caption needs."""
        slots = self.slots()
        rng = np.random.default_rng(0)
        return {
            "kind": self.kind,
            "split": self.split,
            "family": self.family,
            "what": fill(KINDS[self.kind].noun, slots, rng),
            "who": [
                {"name": self.main.name, "role": self.main.role},
                {"name": self.second.name, "role": self.second.role},
            ],
            "organisation": self.organisation,
            "when": {"date": self.day.isoformat(), "text": self.date_text},
            "where": {"venue": self.venue, "city": self.town.name, "country": self.town.country.name},
            "act": self.act,
            "why": self.reason,
            "numbers": [{"name": item.name, "value": item.value, "text": item.text} for item in self.quantities],
            "entities": self.entities(),
            "background": {
                "town": {**asdict(self.town), "country": self.town.country.name},
                "people": [asdict(person) for person in (self.main, self.second, self.witness)],
            },
        }

    def entities(self) -> dict[str, list[str]]:
        """The names and numbers of the event itself, as its texts write them."""
        return {
            "people": [self.main.name, self.second.name],
            "organisations": [self.organisation],
            "places": [self.venue, self.town.name, self.town.country.name],
            "works": [self.work] if self.work else [],
            "dates": [self.date_text],
            "numbers": [item.text for item in self.quantities],
        }
