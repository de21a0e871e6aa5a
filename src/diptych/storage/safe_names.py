"""Ids as names of files: any text gives a name that every file system takes, and different texts different names."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 60  # characters of an id: a name holds several, and file systems take 255 bytes
_PLAIN = re.compile(rf"[0-9a-z][0-9a-z._-]{{0,{_LONGEST - 1}}}")


def safe_name(text: str) -> str:
    """The text where it is short, of lower-case ASCII letters, digits, dots, dashes and underscores; else what is left
    of it and a hash, so that names stay apart where capitals do not count, too.
    """
    if _PLAIN.fullmatch(text):
        return text
    left = re.sub("[^0-9a-z_-]+", "_", text.lower())[:_LONGEST].strip("_")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{left}-{digest}" if left else digest
