"""Files that records of one's own name: on this machine, below the file that names them."""

from __future__ import annotations

from diptych.data.annotations import Record
from diptych.storage.relative_paths import safe_relative


def local_path(record: Record, key: str, location: str) -> str:
    """The `location` that stands under `key`, in one spelling (`safe_relative`): it serves as an id, too.

    Raises:
        ValueError: it is a URL, or as `safe_relative`; names the record and the key.
    """
    if "://" in location:
        raise record.error(
            f"key {key!r} is a URL, {location}: images are read from disk only. Fetch them first (docs/own_data.md has"
            " the commands) and write their paths relative to this file"
        )
    try:
        return safe_relative(location)
    except ValueError as error:
        raise record.error(f"key {key!r}: {error}") from None
