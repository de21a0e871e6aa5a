"""A short key of settings: what a cache, a folder or an answer on disk belongs to."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def key_of(settings: Any, length: int = 16, ascii_only: bool = True, indent: int | None = None) -> str:
    """`length` (64 at most) hexadecimal characters that are the same for the same settings, whatever the order of keys.

    `ascii_only` and `indent` are how the settings are written to be hashed. They tell keys apart, so where a key is on
    people's disks they must stay as they are.
    """
    text = json.dumps(settings, sort_keys=True, ensure_ascii=ascii_only, indent=indent)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]
