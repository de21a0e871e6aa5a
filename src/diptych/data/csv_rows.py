"""CSV as records: every cell stays text, so an id such as `0000000000000012` or `12e4567890123456` stays what it is."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TextIO

from diptych.data.annotations import Record, first_repeated
from diptych.storage.json_values import encodable
from diptych.storage.regular_file import open_regular


def load_rows(path: Path, docs_page: str, separator: str = ",") -> list[Record]:
    """The rows below the header, in file order, by column name; cells may hold the `separator`, quotes and
    line breaks.

    UTF-8, with or without a byte order mark; blank lines between rows are skipped. Cells are as `encodable` has them.
    Errors count the file's lines from 1 and name the one that the row begins on.

    Raises:
        ValueError: the file is absent, a pipe, is not UTF-8, holds no row; the header names a column twice; a row has
            more or fewer cells than the header; a cell is longer than 131,072 characters; or a quote is not closed.
    """
    try:
        with open_regular(path) as data, io.TextIOWrapper(data, encoding="utf-8-sig", newline="") as file:
            return _rows(file, path, separator)
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; {docs_page} shows the files that are needed and where") from None
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        raise ValueError(f"{path}: not a UTF-8 text file (byte {bad:#04x}); save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _rows(file: TextIO, path: Path, separator: str) -> list[Record]:
    reader = csv.reader(file, delimiter=separator, strict=True)
    header: list[str] | None = None
    records = []
    line = 1
    try:
        for raw in reader:
            cells = list(map(encodable, raw))
            where, line = f"{path}, line {line}", reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _header(cells, where)
                continue
            if len(header) == 1 and ";" in header[0]:
                raise ValueError(f"{path}: its columns are separated by ';'; save it with commas, or with tabs as .tsv")
            if len(cells) != len(header):
                raise ValueError(
                    f"{where}: {len(cells)} cells, but the header has {len(header)} columns ({', '.join(header)}); a"
                    " cell with a comma or line break must stand in double quotes"
                )
            records.append(Record(where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise ValueError(f"{path}, the row from line {line}: not valid CSV ({error}); is a quote not closed?") from None
    if not records:
        raise ValueError(f"{path}: no rows in it; an empty split can be neither trained on nor scored")
    return records


def _header(cells: list[str], where: str) -> list[str]:
    repeated = first_repeated(cells)
    if repeated is not None:
        raise ValueError(f"{where}: the header names the column {repeated!r} twice")
    return cells
