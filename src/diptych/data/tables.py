"""Tables of one's own, CSV or TSV, as records under the house's names of keys."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.data.annotations import Record, load_json_lines
from diptych.data.csv_rows import load_rows

SEPARATORS = {".csv": ",", ".tsv": "\t"}  # by the ending of a file's name

Names = Mapping[str, Sequence[str]]  # the names that a column may have, by key


def table_rows(path: Path, docs_page: str, names: Names, needed: Collection[str]) -> list[Record]:
    """The rows as records, in file order, under the keys of `names`. Empty cells are absent keys. Columns of other
    names are left alone, unless they look like a misspelling.

    Raises:
        ValueError: as `load_rows`; or a column of a `needed` key is missing, there under two of its names, or misspelt.
    """
    rows = load_rows(path, docs_page, SEPARATORS[path.suffix.lower()])
    columns = columns_of(list(rows[0].data), path, names, needed)
    return [
        Record(row.where, {key: row.data[column] for key, column in columns.items() if row.data[column].strip()})
        for row in rows
    ]


def line_records(path: Path, docs_page: str, names: Names) -> list[Record]:
    """The records of a file of JSON lines under the keys of `names`, as `table_rows` has them; what is null or blank
    is an absent key.

    Raises:
        ValueError: as `load_json_lines`; or a key is there under two of its names, or misspelt.
    """
    known: dict[tuple[str, ...], dict[str, str]] = {}
    records = []
    for record in load_json_lines(path, docs_page):
        header = tuple(record.data)
        if header not in known:
            known[header] = columns_of(header, record.where, names, (), "key")
        columns = known[header].items()
        there = {key: record.data[name] for key, name in columns if name in record}
        records.append(Record(record.where, {key: value for key, value in there.items() if not _is_blank(value)}))
    return records


def columns_of(
    header: Sequence[str], where: Path | str, names: Names, needed: Collection[str], word: str = "column"
) -> dict[str, str]:
    """The column (`word`) of each key that is there; ValueError as `table_rows`, which begins with `where`."""
    found: dict[str, str] = {}
    for key, own in names.items():
        there = [name for name in own if name in header]
        if len(there) > 1:
            raise ValueError(f"{where}: the {word}s {' and '.join(there)} say the same; keep one of them")
        if there:
            found[key] = there[0]
    if word == "column" and len(header) == 1 and (separator := next((one for one in ";\t|" if one in header[0]), None)):
        raise ValueError(
            f"{where}: its columns are separated by {separator!r}; save it with commas, or with tabs as a .tsv file"
        )
    absent = [name for key, own in names.items() for name in own if key not in found]
    known = {name for own in names.values() for name in own}
    for name in sorted(set(header) - known):
        if close := difflib.get_close_matches(name.strip().lower(), absent, n=1, cutoff=0.8):
            raise ValueError(f"{where}: unknown {word} {name!r}; did you mean {close[0]!r}?")
    for key in names:
        if key in needed and key not in found:
            shown = " or ".join(names[key])
            raise ValueError(f"{where}: there is no {word} {shown}; the header has {', '.join(header)}")
    return found


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()
