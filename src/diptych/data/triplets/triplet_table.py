"""A table of triplets, CSV or TSV, as the records of `triplet_jsonl`; and the splits of triplets that name none."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from diptych.contracts.retrieval import Query, Triplet
from diptych.data.annotations import Record
from diptych.data.csv_rows import load_rows

SEPARATORS = {".csv": ",", ".tsv": "\t"}  # by the ending of a file's name
SPLIT = "split"
_COLUMNS = {
    "query_id": ("query_id", "id"),
    "reference_image": ("reference_image", "reference"),
    "modification_texts": ("modification_text", "modification_texts", "text"),
    "target_image": ("target_image", "target"),
    "group": ("group",),
    SPLIT: (SPLIT,),
}
_NEEDED = ("reference_image", "modification_texts")
_SHARES = {"test": 0.1, "val": 0.1}  # of the triplets; the others are for training


def table_records(path: Path, docs_page: str) -> list[Record]:
    """The rows as records of `triplet_jsonl`, in file order, with the key `split` where the table has that column.

    Columns may have either of their names (`reference` is `reference_image`); empty cells are absent keys, and a row
    without an id is known by its number, `row-1`. Columns of other names are left alone, unless they look like a
    misspelling.

    Raises:
        ValueError: as `load_rows`; or a column is missing, there under both of its names, or misspelt.
    """
    rows = load_rows(path, docs_page, SEPARATORS[path.suffix.lower()])
    columns = _columns(list(rows[0].data), path)
    records = []
    for number, row in enumerate(rows, 1):
        data = {key: row.data[column] for key, column in columns.items() if row.data[column].strip()}
        data.setdefault("query_id", f"row-{number}")
        records.append(Record(row.where, data))
    return records


def split_of(record: Record, splits: Sequence[str]) -> str:
    """The split that the record names.

    Raises:
        ValueError: it names none, or one that is not among `splits`.
    """
    named = record.name(SPLIT)
    if named not in splits:
        raise record.error(f"split {named!r} is not one of {', '.join(splits)}")
    return named


def drawn_splits(pairs: Sequence[tuple[Query, Triplet | None]]) -> tuple[list[str], bool]:
    """A split for each triplet, about a tenth of them `val` and a tenth `test`; and whether no picture is in two.

    Triplets that share pictures, or a group, stay together, so that nothing of a test was trained on; which go where
    the hash of their names decides, not their order. Where too many hang together for that, triplets are drawn one by
    one.
    """
    heap = _together(pairs)
    places: dict[int, list[int]] = defaultdict(list)
    for place, root in enumerate(heap):
        places[root].append(place)
    hashes = [_hash(query) for query, _ in pairs]
    clusters = sorted(places.values(), key=lambda members: min(hashes[place] for place in members))
    apart = len(clusters) >= 3 and max(map(len, clusters)) <= (1 - sum(_SHARES.values())) * len(pairs)
    if not apart:
        clusters = [[place] for place in sorted(range(len(pairs)), key=hashes.__getitem__)]
    splits = ["train"] * len(pairs)
    for split, share in _SHARES.items():
        wanted = max(1, round(share * len(pairs)))
        while wanted > 0 and len(clusters) > 1:
            fits = [place for place, members in enumerate(clusters) if len(members) <= wanted]
            smallest = min(range(len(clusters)), key=lambda place: len(clusters[place]))
            members = clusters.pop(fits[0] if fits else smallest)
            for place in members:
                splits[place] = split
            wanted -= len(members)
    return splits, apart


def _together(pairs: Sequence[tuple[Query, Triplet | None]]) -> list[int]:
    """For each triplet the first one that it hangs together with, by pictures and groups that are shared."""
    parents = list(range(len(pairs)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[tuple[str, str], int] = {}
    for place, (query, triplet) in enumerate(pairs):
        named = [("picture", query.reference_image), ("picture", query.target_image or query.reference_image)]
        named += [("group", triplet.group)] if triplet is not None and triplet.group else []
        for one in named:
            other, own = root(first.setdefault(one, place)), root(place)
            parents[max(other, own)] = min(other, own)
    return [root(place) for place in range(len(pairs))]


def _hash(query: Query) -> str:
    return hashlib.sha256(f"{query.reference_image}\n{query.text}\n{query.target_image}".encode()).hexdigest()


def _columns(header: Sequence[str], path: Path) -> dict[str, str]:
    """The table's column of each key that it has."""
    found: dict[str, str] = {}
    for key, names in _COLUMNS.items():
        there = [name for name in names if name in header]
        if len(there) > 1:
            raise ValueError(f"{path}: the columns {' and '.join(there)} say the same; keep one of them")
        if there:
            found[key] = there[0]
    if len(header) == 1 and (separator := next((one for one in ";\t|" if one in header[0]), None)):
        raise ValueError(
            f"{path}: its columns are separated by {separator!r}; save it with commas, or with tabs as a .tsv file"
        )
    absent = [name for key, names in _COLUMNS.items() for name in names if key not in found]
    known = {name for names in _COLUMNS.values() for name in names}
    for name in sorted(set(header) - known):
        if close := difflib.get_close_matches(name.strip().lower(), absent, n=1, cutoff=0.8):
            raise ValueError(f"{path}: unknown column {name!r}; did you mean {close[0]!r}?")
    for key in _NEEDED:
        if key not in found:
            raise ValueError(
                f"{path}: there is no column {' or '.join(_COLUMNS[key])}; the header has {', '.join(header)}"
            )
    return found
