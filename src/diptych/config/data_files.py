"""A file of one's own in the place of a dataset's name: `data=photos/triplets.csv`, `data=archive/captions.csv`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from diptych.config.override_words import in_shell, override, unquoted, with_home
from diptych.storage.json_files import each_json_line

_ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
_PACKED = (".parquet",)  # of which pictures and texts are taken out first
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


class _Kind(NamedTuple):
    """What a table of the kind has: one column of each of the groups, and others that no other kind has."""

    what: str
    groups: tuple[tuple[str, ...], ...]
    others: tuple[str, ...]


_KINDS = {  # by the name of the config that reads it
    "own_data": _Kind(
        "triplets",
        (("reference", "reference_image"), ("text", "modification_text", "modification_texts")),
        ("target", "target_image"),
    ),
    "own_captions": _Kind(
        "captions", (("photo", "image"), ("article", "article_file")), ("caption", "captions", "base_caption")
    ),
}


def with_data_files(words: Sequence[str]) -> list[str]:
    """The overrides, in which `data=FILE` has become the triplets of that file, as `data=own_data` reads them, or the
    captions, as `data=own_captions` does: its folder is the root, and the file the table of all splits. Which they are
    its columns say. Names of datasets stay as they are.

    Raises:
        ValueError: a word names several of which one is a file; a file's columns are of neither kind, or of both; or
            what it names is to be imported first, which the message does.
    """
    return [part for word in words for part in _as_table(word)]


def _as_table(word: str) -> list[str]:
    key, _, value = word.partition("=")
    name = with_home(unquoted(value))
    if key.lstrip("+") != "data":
        return [word]
    if name.lower().endswith(_PACKED) or ("/" in name and Path(name).is_dir()):
        raise ValueError(_to_import(word, Path(name)))
    if not name.rstrip("]").lower().endswith(_ENDINGS):
        return [word]
    if name == value and ("," in name or name.startswith("[")) and not Path(name).is_file():
        raise ValueError(
            f"{word}: of files one at a time can be named; call the command once for each, or join them in one table"
            " (a comma in a file's name: \"data='a,b.csv'\")"
        )
    path = Path(name)
    columns = _columns(path)  # none where it is not there or cannot be read, which the reader of triplets says then
    kind = kind_of_table(columns, path) if columns else "own_data"
    own = [override("data.root", path.parent.absolute()), override(f"data.sources.{kind}.table", path.name)]
    return [f"data={kind}", *own]


def _to_import(word: str, path: Path) -> str:
    out = path.with_name(f"{path.stem if path.suffix.lower() in _PACKED else path.name}.jsonl")
    own = in_shell("data=own_data", override("data.root", path))
    folder = f"; a folder of train.jsonl, val.jsonl and test.jsonl is {own}" if path.is_dir() else ""
    first = in_shell("diptych", "import", f"dataset={path}", f"out={out}")
    return f"{word}: take its pictures and texts out once, {first}, and name {in_shell(f'data={out}')} then{folder}"


def kind_of_table(names: Iterable[str], path: Path) -> str:
    """What reads a table with columns of these names: `own_data` triplets, `own_captions` captions.

    Raises:
        ValueError: they are those of both or of neither; names `path`.
    """
    columns = set(names)
    whole = [kind for kind, of in _KINDS.items() if all(columns.intersection(group) for group in of.groups)]
    begun = [kind for kind, of in _KINDS.items() if columns & {*of.groups[0], *of.groups[1], *of.others}]
    found = whole or begun
    if len(found) == 1:
        return found[0]
    of_kinds = " and ".join(f"{of.groups[0][0]} and {of.groups[1][0]} are of {of.what}" for of in _KINDS.values())
    raise ValueError(
        f"{path}: its columns say {'both triplets and captions' if found else 'neither triplets nor captions'}:"
        f" {', '.join(sorted(columns))}; {of_kinds}: rename them, or take out those of the other"
    )


def _columns(path: Path) -> Sequence[str]:
    ending = path.suffix.lower()
    if ending == ".json" or not path.is_file():
        return ()
    if ending == ".jsonl":
        _, first = next(each_json_line(path), ("", None))
        return list(first) if isinstance(first, dict) else ()
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=_SEPARATORS[ending])
        try:
            header = next((row for row in rows if row), [])
        except csv.Error:
            return ()
    return () if len(header) == 1 and any(one in header[0] for one in ";\t|") else header
