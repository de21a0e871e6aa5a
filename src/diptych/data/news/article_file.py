"""An article in a file of its own: a text, or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diptych.storage.json_files import read_json
from diptych.storage.regular_file import read_regular

_LARGEST = 2**24  # bytes


def read_article(path: Path, title: str, date: str) -> Mapping[str, str]:
    """The parts of an article: of a JSON file, or a text file with title and date given beside it.

    Raises:
        ValueError: it is no UTF-8 text, or JSON beside which title or date are given.
    """
    if path.suffix.lower() == ".json":
        if title or date:
            raise ValueError(f"{path} has its own title and date; leave those that are given beside it away")
        return read_json(path, shape={"text": str, "title?": str, "date?": str})
    try:
        text = read_regular(path, _LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a UTF-8 text file; save it as UTF-8") from None
    return {"text": text, "title": title, "date": date}
