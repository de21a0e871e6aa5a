"""Files that are there under another spelling: in another Unicode form (some systems write é as two characters), or in
other capitals. Only asked about what is missing: a folder is listed for it, once while it stays as it is.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path


def in_other_unicode(folder: str, relative: str) -> str | None:
    """The path below `folder` that is there and differs from `relative` in nothing but its Unicode forms, or None."""
    found: list[str] = []
    for part in relative.split("/"):
        here = "/".join((folder, *found))
        if not os.path.lexists(f"{here}/{part}"):
            form = unicodedata.normalize("NFC", part)
            twins = [name for name in _alike(here, part) if unicodedata.normalize("NFC", name) == form]
            if len(twins) != 1:
                return None
            part = twins[0]
        found.append(part)
    return "/".join(found)


def spelt_otherwise(path: str | Path) -> str:
    """`; there is 'A.JPG', spelt otherwise` if files of other capitals or Unicode forms lie where this one is missing,
    else nothing.
    """
    folder, name = os.path.split(path)
    found = _alike(folder or ".", name)
    return f"; there is {', '.join(map(repr, found[:3]))}, spelt otherwise" if found else ""


def _alike(folder: str, name: str) -> Sequence[str]:
    try:
        return _listing(folder, os.stat(folder).st_mtime_ns).get(_key(name), ())  # noqa: PTH116
    except (OSError, ValueError):  # a NUL in a name is a ValueError
        return ()


@lru_cache(maxsize=64)
def _listing(folder: str, _changed_ns: int) -> Mapping[str, Sequence[str]]:
    names = defaultdict(list)
    for name in sorted(os.listdir(folder)):  # noqa: PTH208
        names[_key(name)].append(name)
    return names


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
