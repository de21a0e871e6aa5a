"""Base captions: what can be seen in a photo, by query id, as an image captioner wrote it."""

from __future__ import annotations

from pathlib import Path

from diptych.data.annotations import load_json_lines
from diptych.data.csv_rows import load_rows

DOCS_PAGE = "docs/openevents.md"


def read_base_captions(path: str | Path) -> dict[str, str]:
    """Captions by query id from a CSV file with the columns `query_id` and `caption`, or JSON lines with these keys
    (`.jsonl`); others, such as `matched_image_id`, are not looked at. A caption may be blank.

    Raises:
        ValueError: the file is absent or breaks the format, or a query occurs twice; with the line.
    """
    path = Path(path)
    load = load_json_lines if path.suffix == ".jsonl" else load_rows
    captions: dict[str, str] = {}
    for record in load(path, DOCS_PAGE):
        query_id = record.name("query_id")
        if query_id in captions:
            raise record.error(f"query {query_id!r} occurs twice; every query has one base caption")
        captions[query_id] = record.text("caption").strip()
    return captions
