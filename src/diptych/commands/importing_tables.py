"""A table with pictures in it as files that `data=FILE` reads: JSON lines, and the pictures beside them.

diptych import dataset=shop.parquet out=shop.jsonl [columns=[before:reference,edit:text,after:target]]
"""

from __future__ import annotations

import datetime
import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from diptych.config.data_files import kind_of_table
from diptych.data.news import own_captions
from diptych.data.packed_tables import PackedTable, open_packed
from diptych.data.splits import SPLIT
from diptych.data.tables import Names, columns_of
from diptych.data.triplets import triplet_table
from diptych.photos.picture import Picture
from diptych.storage.json_files import write_json_lines
from diptych.storage.whole import remove_unfinished, write_file

log = logging.getLogger(__name__)

_NAME_LENGTH = 32  # hexadecimal digits of what a picture is called that a table holds
_LISTS = ("relevant_ids", "group_member_ids", "distractors")
_KEYS: dict[str, tuple[Names, Sequence[str]]] = {  # what a table of each kind may have, and must have
    "own_data": ({**triplet_table.COLUMNS, **{name: (name,) for name in _LISTS}}, triplet_table.NEEDED),
    "own_captions": (own_captions.COLUMNS, own_captions.NEEDED),
}
_PICTURES = ("reference_image", "target_image", "photo", *_LISTS)
_SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif"}  # of the others, their name


def import_table(dataset: Path, out: Path, columns: Sequence[str] = ()) -> Path:
    """Writes the rows of `dataset` (see `open_packed`) as `out`, and the pictures that they hold into the folder
    `<out without its ending>_images`, equal ones once, named by their content; returns `out`.

    `columns` renames, each `theirs:ours`. Columns that hold paths stay as they are: the pictures are not copied, and
    have to lie below the folder of `out`. `out` is written last and whole: interrupted, the same command goes on, and
    writes no picture again.

    Raises:
        ValueError: `out` exists or is no JSON lines file; a column is missing or is there twice; a row has no picture,
            or bytes that are none, or something that no column may hold: names row and column.
    """
    if out.suffix.lower() != ".jsonl":
        raise ValueError(f"out={out}: name a file that ends in .jsonl")
    if out.exists():
        raise ValueError(f"{out} exists; name a file that does not")
    table = open_packed(dataset)
    theirs = _renamed(table, columns)
    kind = kind_of_table(theirs, dataset)
    names, needed = _KEYS[kind]
    found = {key: theirs[name] for key, name in columns_of(list(theirs), dataset, names, needed).items()}
    left = [name for name in table.columns if name not in found.values()]
    if left:
        log.warning("columns that are left out: %s", ", ".join(left))
    pictures = _Pictures(table.folder, out)
    records = []
    rows = track(table.rows(), f"importing {dataset.name}", table.num_rows, console=Console(stderr=True))
    for number, (where, split, row) in enumerate(rows, 1):
        record = _record(where, row, found, pictures)
        if split:
            record[SPLIT] = split
        if kind == "own_data":
            record = {"query_id": f"row-{number}"} | record
        records.append(record)
    if not records:
        raise ValueError(f"{dataset}: no rows in it")
    write_json_lines(out, records)
    log.info("%d rows, %d pictures taken out, %d of them now", len(records), len(pictures.seen), pictures.num_written)
    return out


def _renamed(table: PackedTable, columns: Sequence[str]) -> dict[str, str]:
    """The table's columns by the names that they are to have."""
    renamed = dict(zip(table.columns, table.columns, strict=True))
    for word in columns:
        name, colon, ours = word.partition(":")
        if not colon or name not in table.columns or not ours:
            there = ", ".join(table.columns)
            raise ValueError(f"columns={word}: expected THEIRS:OURS, as edited_image:target; the table has {there}")
        renamed[name] = ours
    by_ours = {ours: name for name, ours in renamed.items()}
    if len(by_ours) < len(renamed):
        raise ValueError(f"columns: two of {', '.join(renamed)} would have one name")
    return by_ours


def _record(where: str, row: Mapping[str, Any], found: Mapping[str, str], pictures: _Pictures) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, name in found.items():
        value, place = row.get(name), f"{where}, column {name!r}"
        if value is None or value == "" or value == []:
            if key in ("reference_image", "photo"):
                raise ValueError(f"{place}: there is no picture")
            continue
        if key in _LISTS:
            record[key] = [pictures.path(one, place) for one in _listed(value, place)]
        elif key in _PICTURES:
            record[key] = pictures.path(value, place)
        else:
            record[key] = _text(value, place)
    return record


def _listed(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{place}: expected a list of pictures, found {type(value).__name__}")
    return value


def _text(value: Any, place: str) -> Any:
    if isinstance(value, datetime.date):  # a time of day, too
        return value.isoformat()
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    raise ValueError(f"{place}: expected a text, found {type(value).__name__}")


class _Pictures:
    """The pictures of a table: those that it holds are written beside `out`, those that it names stay in place."""

    def __init__(self, folder: Path, out: Path) -> None:
        self._folder, self._root = folder, out.parent
        self._images = out.with_name(f"{out.stem}_images")
        self.seen: set[str] = set()
        self.num_written = 0
        remove_unfinished(self._images, "[0-9a-f]" * _NAME_LENGTH + ".*")  # none of the user's own

    def path(self, value: Any, place: str) -> str:
        """The path of a picture relative to `out`."""
        if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
            value = value.get("path") if value.get("bytes") is None else value["bytes"]
        if isinstance(value, bytes):
            return self._written(value, place)
        if not isinstance(value, str):
            raise ValueError(f"{place}: expected a picture or its path, found {type(value).__name__}")
        path = Path(os.path.normpath((self._folder / value).absolute()))
        if "://" in value or not path.is_file():
            raise ValueError(f"{place}: the picture {value} is not on this machine; looked for it at {path}")
        root = Path(os.path.normpath(self._root.absolute()))
        if not path.is_relative_to(root):
            raise ValueError(f"{place}: the picture {path} does not lie below {root}; let out= be in a folder above it")
        return path.relative_to(root).as_posix()

    def _written(self, data: bytes, place: str) -> str:
        form = Picture(data, f"in {place}").format
        name = f"{hashlib.sha256(data).hexdigest()[:_NAME_LENGTH]}{_SUFFIXES.get(form, f'.{form.lower()}')}"
        path = self._images / name
        if name not in self.seen and not (path.is_file() and path.stat().st_size == len(data)):
            write_file(path, data)
            self.num_written += 1
        self.seen.add(name)
        return f"{self._images.name}/{name}"
