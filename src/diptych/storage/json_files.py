"""JSON and JSON lines on disk: written whole, and read with file and line in every error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from diptych.storage.json_shapes import Shape, fault_of
from diptych.storage.json_values import NoJSON, json_text, json_value
from diptych.storage.line_checksums import LineChecksums
from diptych.storage.regular_file import content_of, open_regular
from diptych.storage.whole import write_file

LARGEST = 2 * 2**30  # bytes of a file that is read whole; of our own, predictions of the largest sets have a tenth
LONGEST_LINE = 2**28  # bytes


def write_json(path: Path, content: Any, indent: int | None = 2, ascii_only: bool = True) -> None:
    """Writes a JSON file in one step, with a line break at its end. No text makes this fail (see `json_text`)."""
    write_file(path, (json_text(content, indent, ascii_only) + "\n").encode())


def write_json_lines(path: Path, records: Iterable[Any], ascii_only: bool = False) -> None:
    """Writes a file of a JSON value a line in one step."""
    write_file(path, json_lines(records, ascii_only))


def json_lines(records: Iterable[Any], ascii_only: bool = False) -> bytes:
    """The content of a file of a JSON value a line. No text makes this fail (see `json_text`)."""
    return "".join(json_text(record, ascii_only=ascii_only) + "\n" for record in records).encode()


def read_json(
    path: Path,
    advice: str = "",
    missing_ok: bool = False,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    shape: Shape = object,
) -> Any:
    """The content of a JSON file (UTF-8, with or without a byte order mark); its texts are as `encodable` has them.

    `advice` says in errors what to do. With `missing_ok` the result is None where there is no file. `pairs` makes
    something else than a dict of an object's keys and values, and may take repeated keys. `shape` is what the content
    must be like (see `json_shapes`).

    Raises:
        ValueError: the file is not there, cannot be read, is a pipe or larger than `LARGEST`, is not JSON (as
            `json_value` has it), an object has a key twice, or the content is of another shape; names file, line and
            column, or the key.
    """
    if (data := content_of(path, LARGEST, advice, missing_ok)) is None:
        return None
    content = parse_json(data, path, advice, pairs=pairs)
    if (fault := fault_of(content, shape)) is not None:
        raise ValueError(f"{path}: {fault}{_then(advice)}")
    return content


@overload
def read_json_lines(
    path: Path,
    key: None = None,
    advice: str = "",
    growing: bool = False,
    missing_ok: bool = False,
    shape: Shape = object,
) -> list[Any]: ...


@overload
def read_json_lines(
    path: Path, key: str, advice: str = "", growing: bool = False, missing_ok: bool = False, shape: Shape = object
) -> dict[str, dict[str, Any]]: ...


def read_json_lines(
    path: Path,
    key: str | None = None,
    advice: str = "",
    growing: bool = False,
    missing_ok: bool = False,
    shape: Shape = object,
) -> Any:
    """The records of a file of a JSON value a line, in file order: a list; with `key`, a dict by the text under it.

    The other arguments are those of `each_json_line`, and `shape` is what each record must be like (see `json_shapes`).

    Raises:
        ValueError: as `each_json_line`, or a record is of another shape; with `key` also a record that is no object
            with this text, or has another one's.
    """
    records = _of_shape(each_json_line(path, advice, growing, missing_ok), shape, advice)
    if key is None:
        return [record for _, record in records]
    named: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    for where, record in records:
        name = record.get(key) if isinstance(record, Mapping) else None
        if not isinstance(name, str):
            raise ValueError(f"{where}: expected an object with the text {key!r}{_then(advice)}")
        if name in named:
            raise ValueError(f"{where}: {key} {name!r} occurs twice, first in {places[name]}; delete one of the lines")
        named[name], places[name] = record, where
    return named


def _of_shape(records: Iterator[tuple[str, Any]], shape: Shape, advice: str) -> Iterator[tuple[str, Any]]:
    for where, record in records:
        if (fault := fault_of(record, shape, "the record")) is not None:
            raise ValueError(f"{where}: {fault}{_then(advice)}")
        yield where, record


def each_json_line(
    path: Path, advice: str = "", growing: bool = False, missing_ok: bool = False
) -> Iterator[tuple[str, Any]]:
    """The records one at a time, each with its position (`FILE:LINE`) for errors; blank lines are passed over.

    With `growing`, what comes after the last line break is not read: a process may be writing it, or was killed then.
    With `missing_ok` a file that is not there has no records. Where its lines' checksums lie beside the file, they are
    compared after the last record: who stops before has not checked.

    Raises:
        ValueError: the file is not there, cannot be read, or is a pipe; a line is longer than `LONGEST_LINE`, is not
            JSON (as `json_value` has it), has an object with a key twice, or (`Damaged`) is not as it was written;
            names file, line and column.
    """
    try:
        with open_regular(path) as file:
            # Not splitlines() of a text: it also breaks at U+2028 and the like, which JSON strings may hold.
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), start=1):
                if len(line) > LONGEST_LINE:
                    raise ValueError(f"{path}:{number}: a line of more than {LONGEST_LINE:,} bytes{_then(advice)}")
                if growing and not line.endswith(b"\n"):
                    break
                if line.strip():
                    yield f"{path}:{number}", parse_json(line.rstrip(b"\r\n"), path, advice, line=number)
        LineChecksums(path).check()
    except FileNotFoundError:
        if not missing_ok:
            raise ValueError(f"{path} is not there{_then(advice)}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}{_then(advice)}") from None


def parse_json(
    data: bytes,
    path: Path,
    advice: str = "",
    line: int | None = None,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The JSON value in bytes that come from `path`, from its line `line` if that is given; as `read_json`."""
    first = line or 1
    try:
        return json_value(data.decode("utf-8-sig" if first == 1 else "utf-8"), pairs or _each_once)
    except UnicodeDecodeError as error:
        number = first + data.count(b"\n", 0, error.start)
        reason = f"{path}:{number}: not JSON (not UTF-8 text: byte {data[error.start]:#04x})"
    except NoJSON as error:
        reason = f"{path}:{first + error.line - 1}: not JSON ({error.reason}, column {error.column})"
    except _RepeatedKey as error:
        reason = f"{path}{'' if line is None else f':{line}'}: {error}"
    raise ValueError(f"{reason}{_then(advice)}")


class _RepeatedKey(ValueError):
    """An object has a key twice."""


def _each_once(items: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(items)
    if len(made) < len(items):
        places: dict[str, int] = {}
        for place, (key, _) in enumerate(items, start=1):
            if (first := places.setdefault(key, place)) != place:
                raise _RepeatedKey(f"key {key!r:.80} stands twice in one object, as its {first}. and {place}.")
    return made


@contextmanager
def as_written(path: Path, advice: str = "") -> Iterator[None]:
    """For code that goes through the content of a file of our own, which somebody else may have written: where it meets
    something else than it goes by, that is said of the file.

    Raises:
        ValueError: a key is missing, or a value is of another kind; names the file.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, ValueError) as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(f"{path}: not as it is written by Diptych ({error!r:.200}){_then(advice)}") from None


def _then(advice: str) -> str:
    return f"; {advice}" if advice else ""
