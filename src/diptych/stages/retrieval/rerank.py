"""The order of a model's first results with what another model says of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.cost import Prices
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Failure, Result
from diptych.contracts.retrieval import TripletSource
from diptych.ranking.reranking import reranked
from diptych.stages.retrieval.given_ranking import GivenRanking
from diptych.stages.retrieval.verify_candidates import STAGE
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import write_json, write_json_lines
from diptych.storage.json_shapes import Count, Finite
from diptych.storage.record_log import RecordFile, RecordLog

log = logging.getLogger(__name__)

REPORT = "reranking.json"
_VERDICTS = {"query_id": str, "candidates": {str: Finite}, "bare": Count}


class Rerank(RecordStage):
    """Mixes the verdicts in the folder of VerifyCandidates into `predictions`, the file that they are about, by
    `weight` (0: the order stays; 1: verdicts decide alone), and writes `output`, a file of the same form. A query
    without verdicts, or whose order they do not change, keeps its line.

    Records are the lines. `reranking.json` beside them counts the `queries`, those `doubtful`, `asked`, not asked by
    reason (`not_asked`), `changed`, and of these those whose target moved `up` and `down` (null where answers are
    hidden); the `answers` and how many of them were `bare`, without logprobs; and what the ledger was charged, in all
    runs on it, for answers that a kill has lost too: `requests`, `input_tokens`, `output_tokens`, and `cost_usd`, null
    without a price.

    Raises:
        ValueError: `weight` or the source make no sense.
    """

    runtime_settings = ("predictions", "verdicts", "output", "ledger", "prices")

    def __init__(
        self,
        predictions: str | Path,
        verdicts: str | Path,
        source: TripletSource | None,
        split: str,
        output: str | Path,
        ledger: str | Path,
        prices: Prices,
        weight: float = 0.75,
    ) -> None:
        if not 0 <= weight <= 1:
            raise ValueError(f"weight={weight}: want a number from 0 to 1")
        self.given, self.weight = GivenRanking(predictions, source, split), weight
        self.verdicts, self.output = Path(verdicts), Path(output)
        self.ledger, self.prices = Path(ledger), prices

    def input_files(self) -> Sequence[Path]:
        """The predictions and the verdicts."""
        return [self.given.path, self.verdicts / "records.jsonl"]

    def output_files(self) -> Sequence[Path]:
        """The new predictions."""
        return [self.output]

    @cached_property
    def _verdicts(self) -> dict[str, dict[str, Any]]:
        return RecordLog(self.verdicts / "records.jsonl", self.record_key).read(_VERDICTS)

    def ids(self) -> Sequence[str]:
        """All queries, in file order."""
        return list(self.given.lines)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The line of each query."""
        for query_id in ids:
            known = self._verdicts.get(query_id, {}).get("candidates", {})
            target, removed = self.given.query(query_id).target_image, self.given.removed(query_id)
            yield reranked(self.given.lines[query_id], known, self.weight, target, removed)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """The new predictions, and the report."""
        lines = RecordFile(folder, self.record_key).records()
        write_json_lines(self.output, lines.values(), ascii_only=True)  # as evaluations write them
        report = {**self._counted(lines), **self._charged()}
        write_json(folder / REPORT, report, indent=1)
        log.info("%s: %s", self.output, report)

    def _counted(self, lines: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        asked = [one for one in self._verdicts.values() if one["candidates"]]
        failed = RecordFile(self.verdicts, self.record_key, name="failures").records().values()
        reasons = dict(sorted(Counter(one["reason"] for one in failed).items()))
        changed = [name for name, line in lines.items() if line != self.given.lines[name]]
        moves = Counter(self._move(name, lines[name]) for name in changed)
        hidden = self.given.source.protocol(self.given.split).answers_hidden
        return {
            "queries": len(lines),
            "doubtful": len(asked) + sum(reasons.values()),
            "asked": len(asked),
            "not_asked": reasons,
            "changed": len(changed),
            "up": None if hidden else moves["up"],
            "down": None if hidden else moves["down"],
            "answers": sum(len(one["candidates"]) for one in asked),
            "bare": sum(one["bare"] for one in asked),
        }

    def _move(self, query_id: str, line: Mapping[str, Any]) -> str:
        """Where the target went."""
        target, before, after = (
            self.given.query(query_id).target_image,
            self.given.lines[query_id]["ranked_ids"],
            line["ranked_ids"],
        )
        if target not in before or before.index(target) == after.index(target):
            return "stayed"
        return "up" if after.index(target) < before.index(target) else "down"

    def _charged(self) -> dict[str, Any]:
        if not self.ledger.is_file():  # nobody was asked
            return {"requests": 0, "input_tokens": 0, "output_tokens": 0, "cost_usd": 0.0}
        with Ledger(self.ledger) as ledger:
            usage, spent = ledger.usage(STAGE), ledger.spent(STAGE)
        priced = all(one.price_factor == 0 or self.prices.of(one.model) is not None for one in spent)
        charged = {name: usage[name] for name in ("requests", "input_tokens", "output_tokens")}
        return {**charged, "cost_usd": self.prices.cost_usd(spent) if priced else None}
