"""A table of triplets, CSV or TSV, as the records of `triplet_jsonl`; and the splits of triplets that name none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.contracts.retrieval import Query, Triplet
from diptych.data.annotations import Record
from diptych.data.splits import SPLIT, drawn_apart
from diptych.data.tables import table_rows

COLUMNS = {
    "query_id": ("query_id", "id"),
    "reference_image": ("reference_image", "reference"),
    "modification_texts": ("modification_text", "modification_texts", "text"),
    "target_image": ("target_image", "target"),
    "group": ("group",),
    SPLIT: (SPLIT,),
}
NEEDED = ("reference_image", "modification_texts")


def table_records(path: Path, docs_page: str) -> list[Record]:
    """The rows as records of `triplet_jsonl`, in file order, with the key `split` where the table has that column.

    Columns may have either of their names (`reference` is `reference_image`); empty cells are absent keys, and a row
    without an id is known by its number, `row-1`. Columns of other names are left alone, unless they look like a
    misspelling.

    Raises:
        ValueError: as `load_rows`; or a column is missing, there under both of its names, or misspelt.
    """
    records = table_rows(path, docs_page, COLUMNS, NEEDED)
    for number, record in enumerate(records, 1):
        record.data.setdefault("query_id", f"row-{number}")
    return records


def drawn_splits(pairs: Sequence[tuple[Query, Triplet | None]]) -> tuple[list[str], bool]:
    """A split for each triplet, about a tenth of them `val` and a tenth `test`; and whether no picture is in two.

    Triplets that share pictures, or a group, stay together, so that nothing of a test was trained on; which go where
    the hash of their names decides, not their order. Where too many hang together for that, triplets are drawn one by
    one.
    """
    texts = [f"{query.reference_image}\n{query.text}\n{query.target_image}" for query, _ in pairs]
    return drawn_apart([_named(query, triplet) for query, triplet in pairs], texts)


def _named(query: Query, triplet: Triplet | None) -> list[tuple[str, str]]:
    named = [("picture", query.reference_image), ("picture", query.target_image or query.reference_image)]
    return named + ([("group", triplet.group)] if triplet is not None and triplet.group else [])
