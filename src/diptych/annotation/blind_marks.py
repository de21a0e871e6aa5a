"""What people marked on a blind page, with the key that says which way wrote which text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from diptych.storage.json_files import read_json

SIDES = ("A", "B")
EQUAL = "equal"
VERDICTS, MISSED, BETTER = ("right", "wrong", "hallucinated"), ("no", "yes"), (*SIDES, EQUAL)
_KEY = {
    "page": str,
    "ways": ([str], {str: str}),
    "pairs": [{"pair_id": str, "ways": dict.fromkeys(SIDES, str), "sentences": {side: [str] for side in SIDES}}],
}
SENTENCE, MISSES, PREFERENCE = "sentence", "misses a change", "better"  # what an item asks about


class Item(NamedTuple):
    """Something that was to be marked: a sentence, whether a text misses a change, or which text is better. `way` is
    None for the last, and `sentence` for all but the first. `place` is the pair's in the key, from 0.
    """

    name: str
    place: int
    about: str
    way: str | None
    sentence: str | None
    values: tuple[str, ...]


@dataclass(frozen=True)
class BlindReview:
    """The key, and by annotator the marks by item. Preferences are ways, or `equal`, no longer sides."""

    ways: tuple[str, ...]
    pair_ids: tuple[str, ...]
    items: tuple[Item, ...]
    marks: Mapping[str, Mapping[str, str]]


def read_blind_review(key: Path, files: Sequence[Path]) -> BlindReview:
    """Reads a key and the files that annotators saved.

    Raises:
        ValueError: a file cannot be read, is about another page, names no annotator or one that another file names, or
            has a mark that the page does not offer; names it.
    """
    content = read_json(key, "it is no key of a blind page; make the page again", shape=_KEY)
    items, page = tuple(_items(content["pairs"])), content["page"]
    ways, pair_ids = tuple(content["ways"]), tuple(pair["pair_id"] for pair in content["pairs"])
    by_name = {item.name: item for item in items}
    marks: dict[str, dict[str, str]] = {}
    for path in files:
        saved = read_json(path, "save it from the page again")
        saved = saved if isinstance(saved, dict) else {}
        if saved.get("page") != page:
            raise ValueError(
                f"{path} is about another page than {key}: its page is {saved.get('page')!r}, not {page!r}"
            )
        annotator = saved.get("annotator")
        if not isinstance(annotator, str) or not annotator.strip():
            raise ValueError(f"{path} names no annotator; enter a name on the page, and save again")
        if annotator in marks:
            raise ValueError(f"{path}: {annotator!r} has saved another of the files; give one file of each annotator")
        made = saved.get("marks")
        if not isinstance(made, dict):
            raise ValueError(f"{path} has no marks; save it from the page again")
        marks[annotator] = {n: _checked(path, n, value, by_name, content["pairs"]) for n, value in made.items()}
    return BlindReview(ways, pair_ids, items, marks)


def _items(pairs: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    for place, pair in enumerate(pairs):
        for side in SIDES:
            way = pair["ways"][side]
            for number, sentence in enumerate(pair["sentences"][side]):
                yield Item(f"{place + 1}/{side}/{number}", place, SENTENCE, way, sentence, VERDICTS)
            yield Item(f"{place + 1}/{side}/missed", place, MISSES, way, None, MISSED)
        yield Item(f"{place + 1}/better", place, PREFERENCE, None, None, BETTER)


def _checked(path: Path, name: str, value: Any, items: Mapping[str, Item], pairs: Sequence[Mapping[str, Any]]) -> str:
    """The mark, a side as its way."""
    item = items.get(name)
    if item is None or value not in item.values:
        raise ValueError(f"{path}: the page has no mark {value!r} for {name!r}; save it from the page again")
    way = pairs[item.place]["ways"].get(value) if item.about == PREFERENCE else None
    return str(way or value)
