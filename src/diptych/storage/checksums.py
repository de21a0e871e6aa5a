"""Checksums of what lies on disk: a bit that has turned there is noticed, named, and never taken for what was written.

CRC-32 finds every change of up to 32 bits in a row, and others but for one in four thousand million, at 3 GB/s. It
guards against disks, not against people: who writes a file can write its checksum.
"""

from __future__ import annotations

import hashlib
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from diptych.storage.whole import sync_file

_AT_ONCE = 1 << 20  # bytes
_SEAL = struct.Struct("<12sI")  # what stands at the end of a sealed file: this word, and the CRC-32 of all before it
_WORD = b"diptych-crc\n"


class Damaged(ValueError):
    """What is on the disk is not what was written there."""


def crc_of_file(path: Path, num_bytes: int | None = None) -> int:
    """CRC-32 of a file, or of its first `num_bytes`; it is not held in memory."""
    checksum, remaining = 0, path.stat().st_size if num_bytes is None else num_bytes
    with path.open("rb") as file:
        while block := file.read(min(_AT_ONCE, remaining)):
            checksum, remaining = zlib.crc32(block, checksum), remaining - len(block)
    return checksum


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, as `sha256sum` and model hubs give it; it is not held in memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_AT_ONCE):
            digest.update(block)
    return digest.hexdigest()


def seal(path: Path) -> None:
    """Adds the file's checksum at its end, for a format whose readers stop before it."""
    checksum = crc_of_file(path)
    with path.open("ab") as file:
        file.write(_SEAL.pack(_WORD, checksum))
        sync_file(file)


def check_seal(path: Path) -> None:
    """Reads a sealed file; one that has no seal, as earlier versions wrote it, passes.

    Raises:
        Damaged: it is not as it was written; names it.
    """
    size = path.stat().st_size - _SEAL.size
    if size < 0:
        return
    with path.open("rb") as file:
        file.seek(size)
        word, checksum = _SEAL.unpack(file.read(_SEAL.size))
    if word == _WORD and crc_of_file(path, size) != checksum:
        raise Damaged(f"{path} is damaged (its checksum differs)")


def check_zip(file: IO[bytes], quick: bool = False) -> None:
    """Reads the records of a zip file as torch writes them, uncompressed, and compares their checksums; with `quick`
    reads the list of them at the file's end alone.

    Raises:
        Damaged: a record is not as it was written, or the file is none of torch's.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            records = archive.infolist()
            if any(record.compress_type != zipfile.ZIP_STORED for record in records):
                raise Damaged("a record is compressed, which torch does to none")
            file.seek(0, 2)
            if sum(record.file_size for record in records) > file.tell():
                raise Damaged("its records are longer than the file")
            damaged = None if quick else archive.testzip()
    except Damaged:
        raise
    except Exception as error:  # zipfile raises many kinds, of which it documents one
        raise Damaged(f"no whole zip file ({error})") from None
    if damaged is not None:
        raise Damaged(f"the record {damaged} is damaged (its checksum differs)")
