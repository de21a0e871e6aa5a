"""Event to English: the article in which its facts are scattered, and the captions that gather them.

An article has 8 to 60 sentences. Each fact that a caption needs stands in one of them, at another place in every
article; the others are true and beside the point (`asides.yaml`). Some of them report an earlier event of the same
town.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diptych.synthetic.newsroom.events import Event
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.texts import read_texts
from diptych.synthetic.newsroom.wording import fill, pick, sentence

MIN_SENTENCES, MAX_SENTENCES = 8, 60
FACTS = ("what", "when", "country", "who", "second", "organisation", "first_number", "second_number", "why")
_SOME = ("three", "four", "five", "six", "seven", "eight", "nine", "eleven", "twelve")
_NUMBER = (
    "[{q}|According to the {source}, {q}|As the {source} [said|confirmed], {q}|Figures from the {source} show that {q}]"
)
_SOURCES = ("authorities", "town clerk", "press office", "council")


@dataclass(frozen=True, slots=True)
class ArticleText:
    """A finished article.

    Attributes:
        title: The headline.
        paragraphs: Sentences, paragraph by paragraph.
        fact_sentences: The fact's name to the position of the sentence that states it, counted over the article.
    """

    title: str
    paragraphs: tuple[tuple[str, ...], ...]
    fact_sentences: Mapping[str, int]

    @property
    def sentences(self) -> tuple[str, ...]:
        """All sentences in their order."""
        return tuple(text for paragraph in self.paragraphs for text in paragraph)

    @property
    def content(self) -> str:
        """The text, with an empty line between paragraphs."""
        return "\n\n".join(" ".join(paragraph) for paragraph in self.paragraphs)


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence and the facts that it states."""

    text: str
    facts: tuple[str, ...] = ()


def write_article(event: Event, earlier: Sequence[Event], rng: np.random.Generator) -> ArticleText:
    """The article on an event; `earlier` events, if any, are mentioned in passing, with their people and dates."""
    slots = _slots(event, rng)
    num_sentences = MIN_SENTENCES + int((MAX_SENTENCES - MIN_SENTENCES + 1) * rng.beta(1.3, 2.2))
    lead, others = _fact_lines(event, slots, rng, brief=num_sentences < 14)
    fillers, closing = _filler_lines(event, earlier, slots, rng)
    num_fillers = num_sentences - 1 - len(others)
    num_closing = min(len(closing), num_fillers // 6)
    fillers = fillers[: num_fillers - num_closing]
    lines = _scatter(fillers, others, rng)
    start = _lead_position(len(lines), rng)
    lines.insert(start, lead)
    lines += closing[:num_closing]
    for fact, person in (("who", event.main), ("second", event.second)):
        _introduce(lines, fact, person.last_name)
    positions = {fact: position for position, line in enumerate(lines) for fact in line.facts}
    title = sentence(fill(pick(rng, KINDS[event.kind].titles), slots, rng)).removesuffix(".")
    return ArticleText(title, _paragraphs([line.text for line in lines], rng), positions)


def _lead_position(num_lines: int, rng: np.random.Generator) -> int:
    """Where it is said what happened: at once, after up to five sentences, or, in one article of five, deep inside."""
    style = rng.random()
    if style < 0.35:
        return 0
    return min(int(rng.integers(1, 6)), num_lines) if style < 0.8 else int(rng.integers(0, 2 * num_lines // 3 + 1))


def _slots(event: Event, rng: np.random.Generator) -> dict[str, str]:
    """Everything that a sentence may ask for."""
    town = event.town
    slots = event.slots() | {
        "occasion": KINDS[event.kind].occasion,
        "adjective": town.country.adjective,
        "population": f"{town.population:,}",
        "founded": str(town.founded),
        "newspaper": town.newspaper,
        "known_for": town.known_for,
        "street": town.street,
        "weekday": event.day.strftime("%A"),
        "weather": pick(rng, read_texts("asides")["weathers"]),
        "witness": event.witness.name,
        "some": "[" + "|".join(_SOME) + "]",
        "date": event.date_text,
    }
    for name, person in (("main", event.main), ("second", event.second), ("witness", event.witness)):
        slots |= {
            f"{name}_last": person.last_name,
            f"{name}_role": person.role,
            f"{name}_age": str(event.day.year - person.born),
            f"{name}_home": person.home_town,
            f"{name}_job": person.earlier_job,
            f"{name}_hobby": person.hobby,
        }
    return slots


def _fact_lines(
    event: Event, slots: Mapping[str, str], rng: np.random.Generator, brief: bool
) -> tuple[_Line, list[_Line]]:
    """The sentence that says what happened, and those with the other facts; `brief` makes them fewer and fuller."""
    kind = KINDS[event.kind]

    def line(template: str, *facts: str) -> _Line:
        return _Line(sentence(fill(template, slots, rng)), facts)

    with_date = brief or rng.random() < 0.4
    with_country = brief or rng.random() < 0.4
    when = " on [{weekday}, {date}|{date}]" if with_date else ""
    where = "{city}, {country}," if with_country else "{city}"
    clause = pick(rng, kind.clauses)
    told = f"[{clause} in {where}{when}|{'On {date}, ' if with_date else ''}{clause} in {where.rstrip(',')}]"
    lead = _Line(
        sentence(fill(told, slots, rng).rstrip(",")),
        ("what", *(("when",) if with_date else ()), *(("country",) if with_country else ())),
    )
    quotes = [kind.quotes[index] for index in rng.permutation(len(kind.quotes)).tolist()]
    others = [
        line("[{main}, {main_role}, |It was {main}, {main_role}, who ]{act}", "who"),
        line(f'"{quotes[0]}," said {{second}}, {{second_role}}', "second"),
        line(_organisation(kind.in_charge), "organisation"),
        line(_why(), "why"),
    ]
    for fact, quantity in zip(("first_number", "second_number"), event.quantities, strict=False):
        text = _NUMBER.replace("{q}", pick(rng, quantity.clauses)).replace("{source}", pick(rng, _SOURCES))
        others.append(line(text, fact))
    if not with_date:
        others.append(
            line(
                "[The {occasion} took place on {weekday}, {date}|{date} was the day of the {occasion}"
                "|The calendar showed {date}, a {weekday}]",
                "when",
            )
        )
    if not with_country:
        others.append(line("{city} [lies|is a town] in the [north|south|west|east] of {country}", "country"))
    if not brief:
        others.append(line(f'"{quotes[1]}," {{main_last}} [said|told the {{newspaper}}|added]'))
        others.append(line(pick(rng, event.quantities[2].clauses)))
    return lead, others


def _organisation(in_charge: str) -> str:
    return (
        f"[{{organisation}}, which {in_charge}, [thanked the neighbours for their patience|has not given details yet]"
        f"|It was {{organisation}} that {in_charge}"
        f"|Behind the scenes was {{organisation}}, which {in_charge}]"
    )


def _why() -> str:
    return (
        "[It [came to this|happened] because {reason}|The [reason|explanation] is [simple|no secret]: {reason}"
        "|Those who ask why are told that {reason}|[Officials|Experts] point out that {reason}]"
    )


def _filler_lines(
    event: Event, earlier: Sequence[Event], slots: Mapping[str, str], rng: np.random.Generator
) -> tuple[list[_Line], list[_Line]]:
    """All sentences beside the point, those of a group together, groups in random order; and the closing ones."""
    asides = read_texts("asides")
    groups = [*asides["middle"].items(), ("kind", KINDS[event.kind].asides)]
    lines = []
    for index in rng.permutation(len(groups)).tolist():
        name, group = groups[index]
        # A witness is introduced before being called by the family name; elsewhere the order does not matter.
        order = range(len(group)) if name == "witness" else rng.permutation(len(group)).tolist()
        lines += [_Line(sentence(fill(group[i], slots, rng))) for i in order]
    for other in earlier:
        lines.insert(int(rng.integers(0, 8)), _Line(_mention(other, rng)))
    outlook = asides["outlook"]
    order = rng.permutation(len(outlook)).tolist()
    return lines, [_Line(sentence(fill(outlook[i], slots, rng))) for i in order]


def _mention(other: Event, rng: np.random.Generator) -> str:
    """One sentence on an earlier event, true of that one only."""
    clause = fill(pick(rng, KINDS[other.kind].clauses), other.slots(), rng)
    month, who = other.day.strftime("%B %Y"), f"{other.main.name} was {other.main.role}"
    return fill(
        f"[Some remember that in {month}, when {who},|Older readers will recall {month}, when {who} and"
        f"|In {month}, when {who},] {clause} in {other.town.name}.",
        {},
        rng,
    )


def _scatter(fillers: Sequence[_Line], facts: Sequence[_Line], rng: np.random.Generator) -> list[_Line]:
    """Both kinds of sentences in one list; the fillers keep their order, the facts stand anywhere."""
    lines = list(fillers)
    for index in rng.permutation(len(facts)).tolist():
        lines.insert(int(rng.integers(0, len(lines) + 1)), facts[index])
    return lines


def _introduce(lines: list[_Line], fact: str, last_name: str) -> None:
    """Move the sentence that gives a person's full name and role before the first one that uses the family name."""
    introduction = next(index for index, line in enumerate(lines) if fact in line.facts)
    first = next(index for index, line in enumerate(lines) if last_name in line.text)
    lines.insert(first, lines.pop(introduction))


def _paragraphs(sentences: Sequence[str], rng: np.random.Generator) -> tuple[tuple[str, ...], ...]:
    """Paragraphs of one to four sentences."""
    paragraphs = []
    rest = list(sentences)
    while rest:
        size = int(rng.integers(1, 5))
        paragraphs.append(tuple(rest[:size]))
        rest = rest[size:]
    return tuple(paragraphs)
