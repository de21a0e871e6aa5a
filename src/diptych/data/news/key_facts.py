"""The names, dates and numbers of articles, found by a named-entity model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import ClassVar

from diptych.contracts.news import KeyFacts
from diptych.text.named_entities import EntityRecognizer, NamedEntity
from diptych.text.numbers import read_words

# OntoNotes labels, as spaCy's English models give them, to the fields of KeyFacts; other labels are no key facts.
_FIELDS = {
    "PERSON": "people",
    "ORG": "organisations",
    "GPE": "places",
    "LOC": "places",
    "FAC": "places",
    "EVENT": "events",
    "DATE": "dates",
    "TIME": "dates",
    "MONEY": "numbers",
    "PERCENT": "numbers",
    "QUANTITY": "numbers",
    "CARDINAL": "numbers",
}
_THE = re.compile(r"^the\s+", re.IGNORECASE)
_POSSESSIVE = re.compile(r"['’]s$|(?<=s)['’]$")
_AGE = re.compile(r"\byears?[- ]old\b|\baged?\b", re.IGNORECASE)
_EDGES = ' \t,;:.!?"“”‘«»()[]-–—'
_LARGE_NUMBER = re.compile(
    r"[1-9][\d,]*\d|\d\s*[-–:/]\s*\d|\d\s?(?:[kKmM]|[mbtMBT]n)\b|[¼½¾⅓⅔]|\b(?:ten|eleven|twelve|\w+teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
    r"|(?:dozen|hundred|thousand|lakh|crore|million|billion|trillion)s?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class FactLimits:
    """How many facts of each kind are kept; the published numbers."""

    people: int = 8
    organisations: int = 8
    places: int = 8
    events: int = 5
    dates: int = 5
    numbers: int = 10


class NoFacts:
    """A FactExtractor that finds nothing."""

    name = "none"

    def extract(self, texts: Sequence[str]) -> list[KeyFacts]:
        """Empty facts for each text."""
        return [KeyFacts() for _ in texts]


class SpacyFacts:
    """A FactExtractor over a spaCy pipeline (see `EntityRecognizer` for `model`).

    - Facts are cleaned: no leading "the", no possessive, blanks for line breaks. What differs only in case, in accents
      or in how its numbers are written is one fact, written as it first appears, of the kind that most of its mentions
      have. Ages count as numbers.
    - Facts of a kind are ordered by their number of mentions, then by first appearance, and cut to `limits`: put a
      title in front of its text to have it counted.
    - Bare numbers below ten are left out; 3.5 million, 40 percent and 4-2 stay.
    """

    model_names: ClassVar[Mapping[str, str]] = {"model": "spacy"}  # see config/model_names.py

    def __init__(self, model: str = "en_core_web_sm", limits: FactLimits = FactLimits()) -> None:
        self.limits = limits
        self.name = f"spacy {model}, " + ", ".join(f"{kind} {limit}" for kind, limit in asdict(limits).items())
        self._recognizer = EntityRecognizer(model)

    def extract(self, texts: Sequence[str]) -> list[KeyFacts]:
        """The facts of each text, in the order of the texts. Raises ValueError as `EntityRecognizer.entities`."""
        return [self._facts(entities) for entities in self._recognizer.entities(texts)]

    def _facts(self, entities: Iterable[NamedEntity]) -> KeyFacts:
        facts: dict[str, _Fact] = {}
        for entity in entities:
            cleaned = clean_name(entity.text)
            kind = _kind(entity.label, cleaned)
            if kind is not None:
                said = " ".join(word.text for word in read_words(cleaned)) or cleaned.casefold()
                facts.setdefault(said, _Fact(cleaned)).kinds[kind] += 1
        ordered = sorted(facts.values(), key=lambda fact: -fact.kinds.total())  # stable: first appearance decides
        return KeyFacts(
            **{
                kind: tuple(fact.text for fact in ordered if fact.kind == kind)[:limit]
                for kind, limit in asdict(self.limits).items()
            }
        )


@dataclass
class _Fact:
    text: str
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def kind(self) -> str:
        return max(self.kinds, key=self.kinds.__getitem__)  # the first of the most frequent


def clean_name(text: str) -> str:
    """An entity as it is listed: one blank for any blanks, no marks at its ends, no leading "the", no possessive."""
    text = " ".join(text.split()).strip(_EDGES.replace(".", ""))
    text = _POSSESSIVE.sub("", _THE.sub("", text))
    if not re.search(r"\.\w*\.$|\b(?:Inc|Corp|Co|Ltd|Jr|Sr|St|No)\.$|[ap]\.m\.$", text):
        text = text.rstrip(".")  # the full stop of a sentence, not of U.S. or Inc.
    return text.strip(_EDGES.replace(".", ""))


def _kind(label: str, text: str) -> str | None:
    """The field of KeyFacts that the entity belongs to, or None."""
    if not re.search(r"\w", text) or (label == "CARDINAL" and not _LARGE_NUMBER.search(text)):
        return None
    if label == "DATE" and _AGE.search(text):
        return "numbers"
    return _FIELDS.get(label)
