"""Paths that others have written down: judged by their text, and spelt in one way, since images are called by them."""

from __future__ import annotations

import re
import unicodedata

from diptych.storage.json_values import encodable

_DRIVE = re.compile(r"[A-Za-z]:")


def safe_relative(relative: str) -> str:
    """The one spelling of a relative path whose text cannot lead outside the folder it is joined to. It is the image's
    id wherever ids are paths: equal spellings are one picture.

    Blank and `.` segments are left out (`./a`, `a//b`, `a/./b`). Characters are composed (NFC): programs and systems
    exchange `é` for `e` and an accent without being asked, and on macOS both name one file. Case stays.

    Raises:
        ValueError: the path is empty or names no file, is absolute, or has a drive letter, a backslash, a `..`, a NUL
            byte or anything else that no text can hold (see `encodable`).
    """
    if "\\" in relative or "\0" in relative:
        raise ValueError(f"image path {relative!r} is refused: folders are separated by '/', and NUL is no character")
    if encodable(relative) != relative:
        raise ValueError(f"image path {relative!r} is refused: it has signs that no file of texts can hold; rename it")
    segments = relative.split("/")
    path = "/".join(segment for segment in segments if segment not in ("", "."))
    path = path if path.isascii() else unicodedata.normalize("NFC", path)
    # Of what was written, and of what is left: `./C:/a` is on another drive where it is joined.
    if not path.strip() or relative.startswith("/") or ".." in segments or any(map(_DRIVE.match, (relative, path))):
        raise ValueError(f"image path {relative!r} is refused: only relative paths below the data folder are read")
    return path
