"""The checksums of a file's lines, in a small file beside it: the lines stay what other programs read."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from diptych.storage.checksums import Damaged
from diptych.storage.whole import whole_file, write_file

_CRC = struct.Struct("<I")


class _Line(NamedTuple):
    checksum: int
    mended: int | None  # of what has no line break at its end: the checksum if its last byte were one


class LineChecksums:
    """`.NAME.crc` beside the file NAME: the CRC-32 of each line, its break included, in four bytes each.

    - A line is looked for among all of them, so lines may be deleted, moved and added by hand. One that is *changed* is
      damaged: then a checksum has no line, and a line no checksum.
    - It is written after the lines, and nothing waits for it to be on the disk: lines that a crash left without theirs
      pass while every checksum has its line. Without the file no line is checked.

    Construction does no I/O.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.with_name(f".{path.name}.crc")

    def check(self) -> None:
        """Reads the lines. What comes after the last break is passed over, unless just that break is damaged.

        Raises:
            Damaged: a line is not as it was written; names file and line.
        """
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            return
        known = {checksum for (checksum,) in _CRC.iter_unpack(content[: len(content) // _CRC.size * _CRC.size])}
        try:
            with self.path.open("rb") as file:
                lost = known - set(map(zlib.crc32, file))
        except FileNotFoundError:
            return
        lost.discard(0)  # a crash of the machine may leave zeros where the last checksums were
        for number, line in enumerate(self._lines(), start=1) if lost else ():
            if line.mended in lost or (line.mended is None and line.checksum not in known):
                raise Damaged(
                    f"{self.path}:{number} is not as it was written (its checksum differs); delete the line, and it is"
                    f" made again; if it was changed on purpose, delete {self.file}"
                )

    def add(self, lines: bytes) -> None:
        """These lines have been added to the file."""
        with self.file.open("ab") as file:
            file.write(_packed(_parsed(io.BytesIO(lines))))

    def replace_lines(self, lines: bytes) -> None:
        """Replaces the file by these lines, in one step; a kill may leave them without checksums.

        Raises:
            OSError: as `write_file`.
        """
        self.remove()  # from here on, or what a kill leaves would have another content's
        write_file(self.path, lines)
        self.renew()

    def renew(self) -> None:
        """The lines are right as they are now."""
        with whole_file(self.file, durable=False) as temporary:
            temporary.write_bytes(_packed(self._lines()))

    def remove(self) -> None:
        """Nothing is said of the lines any more."""
        self.file.unlink(missing_ok=True)

    def _lines(self) -> list[_Line]:
        try:
            with self.path.open("rb") as file:
                return list(_parsed(file))
        except FileNotFoundError:
            return []


def _parsed(lines: Iterable[bytes]) -> Iterator[_Line]:
    for line in lines:
        yield _Line(zlib.crc32(line), None if line.endswith(b"\n") else zlib.crc32(line[:-1] + b"\n"))


def _packed(lines: Iterable[_Line]) -> bytes:
    return b"".join(_CRC.pack(line.checksum) for line in lines if line.mended is None)
