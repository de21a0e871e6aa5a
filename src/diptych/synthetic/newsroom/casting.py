"""Who, where and when of all events, drawn from a seed.

Events come in families of four of one kind. The first is what the others resemble: the second happens in the same
town (and at the same venue, where the kind allows it), the third has the same main person elsewhere, the fourth
shares nothing but the kind. So neither the picture nor a single name tells which article is the right one. No two
families share a town or a person, and a family lies in one split as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from diptych.synthetic.newsroom.events import Event, Person, Quantity, Town
from diptych.synthetic.newsroom.kinds import KINDS, Kind
from diptych.synthetic.newsroom.names import CULTURES, Country, NamePool
from diptych.synthetic.newsroom.texts import read_texts
from diptych.synthetic.newsroom.wording import fill, pick

SPLITS = ("train", "val", "test")
FAMILY_SIZE = 4
_FIRST_DAY, _LAST_DAY = date(2011, 1, 10), date(2022, 12, 20)
_NAMES = read_texts("names")


class _Cast:
    """Makes what events are about, out of one family's random numbers and the names that are left."""

    def __init__(self, kind: Kind, names: NamePool, rng: np.random.Generator) -> None:
        self.kind = kind
        self.names = names
        self.rng = rng
        self.works = [kind.works[index] for index in rng.permutation(len(kind.works)).tolist()]
        self._family_names: set[str] = set()

    def town(self, country: Country) -> Town:
        rng, name = self.rng, self.names.town()
        return Town(
            name=name,
            country=country,
            river=pick(rng, _NAMES["rivers"]),
            population=int(rng.integers(24, 2600)) * 100,
            founded=int(rng.integers(1080, 1880)),
            newspaper=f"{name} {pick(rng, _NAMES['newspapers'])}",
            known_for=pick(rng, _NAMES["known_for"]),
            street=f"{pick(rng, _NAMES['venue_words'])} Lane",
            look_seed=int(rng.integers(2**31)),
        )

    def person(self, roles: Sequence[str], town: Town) -> Person:
        rng = self.rng
        name = self.names.person(self._family_names)  # articles call people by their family name
        self._family_names.add(name.rsplit(" ", 1)[1])
        return Person(
            name=name,
            role=pick(rng, roles),
            born=int(rng.integers(1944, 1988)),
            home_town=pick(rng, (town.name, *(f"{word}mouth" for word in ("Tarn", "Eller", "Wend")))),
            earlier_job=pick(rng, _NAMES["earlier_jobs"]),
            hobby=pick(rng, _NAMES["hobbies"]),
        )

    def name_one_of(self, templates: Sequence[str], town: Town, taken: Sequence[str] = ()) -> str:
        """An invented venue or organisation that is not among the taken ones."""
        while True:
            word = {"word": pick(self.rng, _NAMES["venue_words"]), "city": town.name}
            name = fill(pick(self.rng, templates), word, self.rng)
            if name not in taken:
                return name

    def quantities(self, town: Town) -> tuple[Quantity, ...]:
        made = []
        for kind in self.kind.quantities:
            value = int(self.rng.integers(kind.low // kind.step, kind.high // kind.step + 1)) * kind.step
            slots = {"n": f"{value:,}", "currency": town.country.currency}
            clauses = tuple(fill(clause, slots, self.rng) for clause in kind.clauses)
            made.append(Quantity(kind.name, value, f"{value:,}", clauses))
        return tuple(made)

    def event(self, number: int, split: str, town: Town, venue: str, main: Person, day: date) -> Event:
        since = day.year - int(self.rng.integers(2, 9))
        first, role = number - number % FAMILY_SIZE, number % FAMILY_SIZE
        return Event(
            number=number,
            split=split,
            family=number // FAMILY_SIZE,
            kind=self.kind.name,
            town=town,
            venue=venue,
            work=self.works[role] if self.works else "",
            day=day,
            main=main,
            second=self.person(self.kind.second_roles, town),
            witness=self.person(("a resident",), town),
            organisation=self.name_one_of(self.kind.organisations, town),
            quantities=self.quantities(town),
            act=fill(pick(self.rng, self.kind.acts), {}, self.rng),
            reason=pick(self.rng, self.kind.reasons).format(year=since),
            since=since,
            american_date=bool(self.rng.random() < 0.5),
            shares_town_with={0: (first + 1,), 1: (first,)}.get(role, ()),
            shares_person_with={0: (first + 2,), 2: (first,)}.get(role, ()),
        )


def _sample_family(family: int, split: str, names: NamePool, rng: np.random.Generator) -> list[Event]:
    kind = tuple(KINDS.values())[family % len(KINDS)]
    cast = _Cast(kind, names, rng)
    countries = names.culture.countries
    home = pick(rng, countries)  # also of the second town, where the same person turns up
    towns = [cast.town(country) for country in (home, home, pick(rng, countries))]
    venue = cast.name_one_of(kind.venues, towns[0])
    same_town_venue = venue if kind.repeats else cast.name_one_of(kind.venues, towns[0], (venue,))
    places = [
        (towns[0], venue),
        (towns[0], same_town_venue),
        *((town, cast.name_one_of(kind.venues, town, (venue, same_town_venue))) for town in towns[1:]),
    ]
    mains = [cast.person(kind.main_roles, towns[index]) for index in (0, 0, 2)]
    by_event = (mains[0], mains[1], mains[0], mains[2])
    # At least half a year apart: what happens in one town twice must not be one event.
    days = [_FIRST_DAY + timedelta(int(day)) for day in _apart(rng, FAMILY_SIZE, 180)]
    first = FAMILY_SIZE * family
    return [cast.event(first + i, split, *places[i], main=by_event[i], day=days[i]) for i in range(FAMILY_SIZE)]


def _apart(rng: np.random.Generator, count: int, least: int) -> list[int]:
    """Days in random order, any two at least so many apart."""
    room = (_LAST_DAY - _FIRST_DAY).days - least * (count - 1)
    starts = np.sort(rng.integers(0, room, size=count)) + least * np.arange(count)
    return [int(starts[index]) for index in rng.permutation(count)]


def sample_events(seed: int, num_families: Mapping[str, int]) -> list[Event]:
    """All events, in the order of their numbers: `FAMILY_SIZE` a family, the families in the order of `SPLITS`.

    Raises:
        ValueError: more families than there are names.
    """
    pools = [
        NamePool(culture, np.random.default_rng(np.random.SeedSequence([seed, 0, index])))
        for index, culture in enumerate(CULTURES)
    ]
    events: list[Event] = []
    splits = [split for split in SPLITS for _ in range(num_families[split])]
    for family, split in enumerate(splits):
        rng = np.random.default_rng(np.random.SeedSequence([seed, 1, family]))
        names = pools[(family + family // len(KINDS)) % len(pools)]
        events += _sample_family(family, split, names, rng)
    return events
