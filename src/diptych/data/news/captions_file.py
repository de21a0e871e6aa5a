"""Files of captions by query id: what a captioner wrote, or somebody's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.data.annotations import load_json_lines, load_object
from diptych.data.csv_rows import load_rows

DOCS_PAGE = "docs/openevents.md"


def read_captions(path: str | Path) -> dict[str, str]:
    """Captions by query id, in file order, as they are written; they may be blank.

    The file is CSV (`.csv`) with the columns `query_id` and `caption`, JSON lines (`.jsonl`) with these keys, or else
    one JSON object `{"query id": "caption"}`. Other columns and keys are not looked at.

    Raises:
        ValueError: the file is absent, breaks its form, or has a query twice; with the line where there are lines.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".jsonl"):
        return _read_object(path)
    load = load_rows if path.suffix == ".csv" else load_json_lines
    captions: dict[str, str] = {}
    for record in load(path, DOCS_PAGE):
        query_id = record.name("query_id")
        if query_id in captions:
            raise record.error(f"query {query_id!r} occurs twice; every query has one caption")
        captions[query_id] = record.text("caption")
    return captions


def read_captions_of_all(paths: Sequence[str | Path]) -> dict[str, str]:
    """The captions of several files together, each as `read_captions` reads it.

    Raises:
        ValueError: as `read_captions`; or two of the files have a caption of the same query.
    """
    captions: dict[str, str] = {}
    for number, path in enumerate(paths):
        found = read_captions(path)
        if twice := next((query_id for query_id in found if query_id in captions), None):
            earlier = ", ".join(str(one) for one in paths[:number])
            raise ValueError(f"{path}: query {twice!r} has a caption in {earlier} already; every query has one caption")
        captions |= found
    return captions


def _read_object(path: Path) -> dict[str, str]:
    captions = load_object(path, "query", "every query has one caption")
    if not isinstance(captions, dict):
        raise ValueError(f'{path}: expected one JSON object {{"query id": "caption", ...}}')
    for query_id, caption in captions.items():
        if not isinstance(caption, str):
            found = "null" if caption is None else f"{caption!r:.80}"
            raise ValueError(
                f"{path}: query {query_id!r}: its caption must be a text, found {found}; expected one JSON object"
                ' {"query id": "caption", ...}'
            )
    return captions
