"""JSON and JSON lines on disk: written whole, and read with file and line in every error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from diptych.storage.json_values import NoJSON, json_value
from diptych.storage.line_checksums import LineChecksums
from diptych.storage.whole import write_file


def write_json(path: Path, content: Any, indent: int | None = 2, ascii_only: bool = True) -> None:
    """Writes a JSON file in one step, with a line break at its end."""
    write_file(path, (json.dumps(content, indent=indent, ensure_ascii=ascii_only) + "\n").encode())


def write_json_lines(path: Path, records: Iterable[Any], ascii_only: bool = False) -> None:
    """Writes a file of a JSON value a line in one step."""
    write_file(path, json_lines(records, ascii_only))


def json_lines(records: Iterable[Any], ascii_only: bool = False) -> bytes:
    """The content of a file of a JSON value a line."""
    return "".join(json.dumps(record, ensure_ascii=ascii_only) + "\n" for record in records).encode()


def read_json(
    path: Path,
    advice: str = "",
    missing_ok: bool = False,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The content of a JSON file (UTF-8, with or without a byte order mark).

    `advice` says in errors what to do. With `missing_ok` the result is None where there is no file. `pairs` makes
    something else than a dict of an object's keys and values, of which a dict would hide the repeated ones.

    Raises:
        ValueError: the file is not there, cannot be read, or is not JSON; names file, line and column.
    """
    try:
        return parse_json(path.read_bytes(), path, advice, pairs=pairs)
    except FileNotFoundError:
        if missing_ok:
            return None
        raise ValueError(f"{path} is not there{_then(advice)}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}{_then(advice)}") from None


@overload
def read_json_lines(
    path: Path, key: None = None, advice: str = "", growing: bool = False, missing_ok: bool = False
) -> list[Any]: ...


@overload
def read_json_lines(
    path: Path, key: str, advice: str = "", growing: bool = False, missing_ok: bool = False
) -> dict[str, dict[str, Any]]: ...


def read_json_lines(
    path: Path, key: str | None = None, advice: str = "", growing: bool = False, missing_ok: bool = False
) -> Any:
    """The records of a file of a JSON value a line, in file order: a list; with `key`, a dict by the text under it.

    The other arguments are those of `each_json_line`.

    Raises:
        ValueError: as `each_json_line`; with `key` also a record that is no object with this text, or has another
            one's.
    """
    records = each_json_line(path, advice, growing, missing_ok)
    if key is None:
        return [record for _, record in records]
    named: dict[str, dict[str, Any]] = {}
    for where, record in records:
        name = record.get(key) if isinstance(record, Mapping) else None
        if not isinstance(name, str):
            raise ValueError(f"{where}: expected an object with the text {key!r}{_then(advice)}")
        if name in named:
            raise ValueError(f"{where}: {key} {name!r} occurs twice; delete one of the lines")
        named[name] = record
    return named


def each_json_line(
    path: Path, advice: str = "", growing: bool = False, missing_ok: bool = False
) -> Iterator[tuple[str, Any]]:
    """The records one at a time, each with its position (`FILE:LINE`) for errors; blank lines are passed over.

    With `growing`, what comes after the last line break is not read: a process may be writing it, or was killed then.
    With `missing_ok` a file that is not there has no records. Where its lines' checksums lie beside the file, they are
    compared after the last record: who stops before has not checked.

    Raises:
        ValueError: the file is not there, cannot be read, or a line is not JSON or (`Damaged`) not as it was written;
            names file, line and column.
    """
    try:
        with path.open("rb") as file:
            # Not splitlines() of a text: it also breaks at U+2028 and the like, which JSON strings may hold.
            for number, line in enumerate(file, start=1):
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
    """The JSON value in bytes that come from `path`, from its line `line` if that is given. See `read_json`."""
    first = line or 1
    try:
        return json_value(data.decode("utf-8-sig" if first == 1 else "utf-8"), pairs)
    except UnicodeDecodeError as error:
        number = first + data.count(b"\n", 0, error.start)
        reason = f"{path}:{number}: not JSON (not UTF-8 text: byte {data[error.start]:#04x})"
    except NoJSON as error:
        reason = f"{path}:{first + error.line - 1}: not JSON ({error.reason}, column {error.column})"
    raise ValueError(f"{reason}{_then(advice)}")


def _then(advice: str) -> str:
    return f"; {advice}" if advice else ""
