"""Ranked candidates as records of a stage, and the retrieval file that is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.contracts.news import Candidate
from diptych.data.news.retrieval_file import write_retrieval
from diptych.storage.json_shapes import Finite
from diptych.storage.record_log import RecordLog

FILE = "retrieval.json"


def retrieval_record(query_id: str, candidates: Sequence[Candidate], **more: Any) -> dict[str, Any]:
    """A record with the fields of a retrieval file."""
    return {"query_id": query_id, "results": [result_of(candidate) for candidate in candidates], **more}


def result_of(candidate: Candidate) -> dict[str, Any]:
    """A candidate with the fields that it has in a retrieval file."""
    return {"image_id": candidate.image_id, "article_id": candidate.article_id, "score": float(candidate.score)}


RESULTS = {"results": [{"image_id": str, "article_id?": str, "score": Finite}]}  # of a record


def candidates_of(record: Mapping[str, Any]) -> list[Candidate]:
    """The candidates of a record."""
    return [Candidate(item["image_id"], item["article_id"], item["score"]) for item in record["results"]]


def write_records(folder: Path, output_files: Sequence[Path]) -> None:
    """`retrieval.json` in the stage's folder out of its records, in their order, and the same in every output file.

    Raises:
        ValueError: as `write_retrieval`, or no query is left.
    """
    records = RecordLog(folder / "records.jsonl").read(RESULTS)
    retrieval = {query_id: candidates_of(record) for query_id, record in records.items()}
    for path in (folder / FILE, *output_files):
        write_retrieval(path, retrieval)
