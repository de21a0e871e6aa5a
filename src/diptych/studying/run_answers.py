"""What a run answered, query by query, in words and with the picture that it put first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.data.news.retrieval_file import read_retrieval
from diptych.report.retrieval_cards import rank_of
from diptych.results.record import PREDICTIONS
from diptych.storage.json_files import each_json_line
from diptych.storage.record_log import RecordLog
from diptych.studying.run_queries import AskedQuery
from diptych.sweeping.pipeline_results import AUDIT

_CAPTIONS = Path("caption") / PREDICTIONS  # of pipeline=caption_news
_ARTICLES = Path("articles") / "retrieval.json"
_AUDITED = {"pair_id": str, "ways": {str: {"sentences": [str], "verdicts": [str]}}}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered: `caption`, or the image ids that were `found`, best first. `rank` is that of the target, or of
    the right article; None where it was not found, or is not known. Of annotated pairs the caption is what was said of
    them, each sentence with the audit's verdict.
    """

    caption: str | None = None
    found: tuple[str, ...] = ()
    rank: int | None = None


def read_answers(folder: Path, asked: Mapping[str, AskedQuery]) -> dict[str, Answer]:
    """The answers that lie in a run's folder, by the query's name; none of a run that leaves no such file.

    Raises:
        ValueError: a file is damaged; names it.
    """
    for path in (folder / PREDICTIONS, folder / _CAPTIONS):
        if path.is_file():
            return {_name(record): _answer(record) for _, record in each_json_line(path) if "query_id" in record}
    if (folder / AUDIT).is_file():
        records = RecordLog((folder / AUDIT).parent / "records.jsonl", "pair_id").read(_AUDITED)
        return {pair: Answer(_told(record["ways"])) for pair, record in records.items()}
    if not (folder / _ARTICLES).is_file():
        return {}
    answers = {}
    for query_id, candidates in read_retrieval(folder / _ARTICLES).items():
        right = asked[query_id].article_id if query_id in asked else None
        found = tuple(candidate.image_id for candidate in candidates)
        answers[query_id] = Answer(found=found, rank=None if right is None else rank_of(right, candidates))
    return answers


def _told(ways: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    return " ".join(
        f"{sentence} ({verdict})"
        for of in ways.values()
        for sentence, verdict in zip(of["sentences"], of["verdicts"], strict=True)
    )


def _name(record: Mapping[str, Any]) -> str:
    return f"{record['set']}/{record['query_id']}" if "set" in record else str(record["query_id"])


def _answer(record: Mapping[str, Any]) -> Answer:
    return Answer(record.get("caption"), tuple(record.get("ranked_ids", ())), record.get("target_rank"))
