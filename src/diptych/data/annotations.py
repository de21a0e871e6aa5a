"""Validated reading that all readers share: every error names the file, the line or record, and the key.

Nothing here decodes pictures. Paths that come out of annotations are never trusted: `safe_relative` judges the text of
a path, `resolve_inside` also the links it would follow.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from diptych.contracts.retrieval import Query, Triplet
from diptych.photos.spellings import in_other_unicode
from diptych.storage.json_files import each_json_line, read_json
from diptych.storage.relative_paths import safe_relative

# ---------------------------------------------------------------------------------------------------- files


def load_json(path: Path, docs_page: str) -> Any:
    """The content of a JSON file (UTF-8, with or without a byte order mark).

    Raises:
        ValueError: the file is absent, is not UTF-8, or is not JSON (with line and column).
    """
    return read_json(path, _shown_in(docs_page))


def load_records(path: Path, docs_page: str, identified_by: str | None = None) -> list[Record]:
    """The records of a JSON list of objects, in file order.

    `identified_by` names the key whose value is added to error messages, for example `pairid`.

    Raises:
        ValueError: as `load_json`; or the content is not a list of objects, or holds no record.
    """
    content = load_json(path, docs_page)
    if not isinstance(content, list):
        raise ValueError(f"{path}: expected a JSON list of records, found {_type_name(content)}")
    records = [_record(item, f"{path}, record {index}", identified_by) for index, item in enumerate(content)]
    return _not_empty(records, path)


def load_object(path: Path, named: str, rule: str) -> Any:
    """The content of a file that holds a JSON object with ids as keys, each once.

    Raises:
        ValueError: the file is absent or damaged, or an id occurs twice: `named` says what it stands for ("photo"),
            `rule` why that cannot be ("every photo has one length").
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if (repeated := first_repeated(name for name, _ in pairs)) is not None:
            raise ValueError(f"{path}: {named} {repeated!r} occurs twice; {rule}")
        return dict(pairs)

    return read_json(path, pairs=unique)


def load_json_lines(path: Path, docs_page: str, identified_by: str | None = None) -> list[Record]:
    """The records of a JSON Lines file, in file order; blank lines are skipped. Errors count lines from 1.

    Raises:
        ValueError: as `load_records`.
    """
    lines = each_json_line(path, _shown_in(docs_page))
    return _not_empty([_record(item, where, identified_by) for where, item in lines], path)


def _shown_in(docs_page: str) -> str:
    return f"{docs_page} shows the files that are needed and where"


def _record(item: Any, where: str, identified_by: str | None) -> Record:
    if not isinstance(item, dict):
        raise ValueError(f"{where}: expected an object with keys, found {_type_name(item)}")
    if identified_by is not None and isinstance(item.get(identified_by), (str, int)):
        where = f"{where} ({identified_by} {item[identified_by]})"
    return Record(where, item)


def _not_empty(records: list[Record], path: Path) -> list[Record]:
    if not records:
        raise ValueError(f"{path}: no records in it; an empty split can be neither trained on nor scored")
    return records


# ---------------------------------------------------------------------------------------------------- records


class Record:
    """One annotation record: typed access to its keys. `where` opens every error: file, position and id."""

    __slots__ = ("data", "where")

    def __init__(self, where: str, data: dict[str, Any]) -> None:
        self.where = where
        self.data = data

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.data.get(key) is not None

    def error(self, message: str) -> ValueError:
        """An error that opens with the position of this record."""
        return ValueError(f"{self.where}: {message}")

    def text(self, key: str) -> str:
        """A string, which may be empty or blank."""
        value = self._get(key, "a string")
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string")
        return value

    def name(self, key: str) -> str:
        """A string that names something: not blank."""
        value = self.text(key)
        if not value.strip():
            raise self.error(f"key {key!r} is blank; expected a name")
        return value

    def integer(self, key: str) -> int:
        """A whole number; neither true nor 1.0 is one."""
        value = self._get(key, "an integer")
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(key, value, "an integer")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, perhaps empty."""
        return self._list(key, str, "a list of strings")

    def names(self, key: str) -> tuple[str, ...]:
        """A list of different names, none blank; empty if the key is absent or null."""
        if key not in self:
            return ()
        values = self.texts(key)
        for value in values:
            if not value.strip():
                raise self.error(f"key {key!r} holds a blank name")
        self._refuse_repeated(key, values)
        return values

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of different whole numbers."""
        values = self._list(key, int, "a list of integers")
        self._refuse_repeated(key, values)
        return values

    def objects(self, key: str) -> tuple[dict[str, Any], ...]:
        """A list of JSON objects, perhaps empty."""
        return self._list(key, dict, "a list of objects")

    def wordings(self, key: str) -> tuple[str, ...]:
        """A string or a list of strings as a tuple; empty if there is no wording that is not blank.

        Annotation pipelines leave null or an empty list where they found nothing to say.
        """
        self._get(key, "a string or a list of strings", allow_null=True)
        value = self.data[key]
        wordings = (value,) if isinstance(value, str) else () if value is None else self.texts(key)
        return tuple(wording for wording in wordings if wording.strip())

    def record(self, key: str) -> Record:
        """A nested object."""
        value = self._get(key, "an object")
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return Record(f"{self.where}, key {key!r}", value)

    def _get(self, key: str, expected: str, allow_null: bool = False) -> Any:
        if key not in self.data or (self.data[key] is None and not allow_null):
            known = ", ".join(sorted(self.data))
            raise self.error(f"key {key!r} is missing; expected {expected} (the record has the keys: {known})")
        return self.data[key]

    def _list(self, key: str, kind: type, expected: str) -> tuple[Any, ...]:
        value = self._get(key, expected)
        if not isinstance(value, list):
            raise self._wrong(key, value, expected)
        for element in value:
            if not isinstance(element, kind) or isinstance(element, bool):
                raise self.error(f"key {key!r} must be {expected}, but holds {_type_name(element)}: {element!r:.80}")
        return tuple(value)

    def _wrong(self, key: str, value: Any, expected: str) -> ValueError:
        return self.error(f"key {key!r} must be {expected}, found {_type_name(value)}: {value!r:.80}")

    def _refuse_repeated(self, key: str, values: Sequence[Any]) -> None:
        repeated = first_repeated(values)
        if repeated is not None:
            raise self.error(f"key {key!r} holds {repeated!r} twice")


_JSON_TYPES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
}


def _type_name(value: Any) -> str:
    return "null" if value is None else _JSON_TYPES[type(value)]


# ---------------------------------------------------------------------------------------------------- paths


def resolve_inside(folder: Path, relative: str) -> Path:
    """`folder / relative`, guaranteed to stay inside `folder`, links followed. The file need not exist; if it is there
    in another Unicode form, that is meant.

    `folder` itself may be reached through links: it is the user's choice. A link below it that leads out is not, since
    whoever packed the data may have made it.

    Raises:
        ValueError: as `safe_relative`, or a link leads outside.
    """
    # Strings until the end: galleries hold 100,000 images, and Path's methods take several times as long.
    relative = safe_relative(relative)
    path = os.path.join(folder, relative)  # noqa: PTH118
    try:
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError:
        path = os.path.join(folder, in_other_unicode(str(folder), relative) or relative)  # noqa: PTH118
        is_link = os.path.islink(path)  # noqa: PTH114
    real_path = os.path.realpath(path) if is_link else _real_folder(os.path.dirname(path))  # noqa: PTH120
    real_folder = _real_folder(str(folder))
    if real_path != real_folder and not real_path.startswith(real_folder.rstrip(os.sep) + os.sep):
        raise ValueError(f"{path} is refused: a link leads outside {folder}, and nothing outside it is read")
    return Path(path)


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    # All those images are in a few folders: resolve each folder once.
    return os.path.realpath(folder)


# ---------------------------------------------------------------------------------------------------- splits


def check_split(split: str, splits: Sequence[str], title: str) -> str:
    """Return `split` if it is one of `splits`.

    Raises:
        ValueError: it is not.
    """
    if split not in splits:
        raise ValueError(f"{title} has no split {split!r}; choose one of {', '.join(splits)}")
    return split


def unique_queries(queries: Sequence[Query] | Sequence[Triplet], path: Path) -> None:
    """Check that no query id occurs twice: predictions are keyed by it.

    Raises:
        ValueError: one does; names it and the file.
    """
    repeated = first_repeated(query.query_id for query in queries)
    if repeated is not None:
        raise ValueError(f"{path}: query id {repeated!r} occurs twice; query ids must be unique within a split")


def ids_of_pairs(records: Sequence[Record], prefix: str) -> list[str]:
    """The query ids of published records, which have none: `<prefix>-<position in the file>`. Records that Diptych has
    exported name the annotated pair, `pair_id`, which then is the id; a pair's further records get -2, -3, ... behind.
    """
    times: Counter[str] = Counter()
    ids = []
    for position, record in enumerate(records):
        if "pair_id" in record:
            pair_id = record.name("pair_id")
            times[pair_id] += 1
            ids.append(pair_id if times[pair_id] == 1 else f"{pair_id}-{times[pair_id]}")
        else:
            ids.append(f"{prefix}-{position}")
    return ids


def first_repeated(values: Iterable[Any]) -> Any | None:
    """The first value that was seen before, or None."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def in_order(values: Iterable[str]) -> Iterator[str]:
    """The different values, in the order of their first appearance: galleries are ordered by it."""
    return iter(dict.fromkeys(values))
