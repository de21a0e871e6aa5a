"""A model says of the first results of queries in doubt whether they are what was asked for."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.annotation.budget import MoneyUsedUp
from diptych.annotation.candidate_question import (
    NUM_LOGPROBS,
    CandidatePrompt,
    CandidateTask,
    CandidateVerdict,
    yes_probability,
)
from diptych.contracts.pipelines import Answer, Failure, Result
from diptych.contracts.retrieval import TripletSource
from diptych.ranking.predictions_file import check_scores
from diptych.ranking.reranking import candidates
from diptych.stages.annotation.asking import Asking
from diptych.stages.annotation.question_stage import QuestionStage
from diptych.stages.annotation.questions import Inquiry
from diptych.stages.retrieval.given_ranking import GivenRanking

log = logging.getLogger(__name__)

STAGE = "verify_candidates"


class VerifyCandidates(QuestionStage):
    """Asks `asking`'s model about the first `k` results of every query of `predictions`, the file of an evaluation on
    the `source`'s `split`, whose first result scores less than `margin` above its second; `margin` None: of all. What
    the protocol takes out of a ranking is not asked about.

    Records are `{"query_id", "candidates": {image id: probability of a yes, 0 to 1}, "bare"}`, of a query that is not
    in doubt without candidates; `bare` counts the answers that came without logprobs. A query of which one candidate
    has no answer fails for its reason, or as `unaffordable` where the money was used up: all or none are asked.

    Raises:
        ValueError: `k`, `margin` or the source make no sense.
    """

    record_key = "query_id"
    name = STAGE
    form = CandidateVerdict
    expected_tokens = 8
    num_logprobs = NUM_LOGPROBS
    runtime_settings = (*QuestionStage.runtime_settings, "predictions")

    def __init__(
        self,
        asking: Asking,
        prompt: CandidatePrompt,
        predictions: str | Path,
        source: TripletSource | None,
        split: str,
        k: int = 10,
        margin: float | None = 0.05,
    ) -> None:
        super().__init__(asking, CandidateTask(prompt))
        if k < 2 or (margin is not None and not margin >= 0):
            raise ValueError(f"k={k}, margin={margin}: want at least 2, and at least 0 or null for all queries")
        self.given, self.k, self.margin = GivenRanking(predictions, source, split), k, margin

    def input_files(self) -> Sequence[Path]:
        """The predictions."""
        return [self.given.path]

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {image.image_id: image.path for image in self.given.source.gallery(self.given.split)}

    @cached_property
    def _in_doubt(self) -> dict[str, list[str]]:
        """By query the candidates to be asked about, best first; none of a query that is sure.

        Raises:
            ValueError: a line has no falling scores, is of no query of the split, or names an image that is none.
        """
        found, of = {}, self.given
        for query_id, line in of.lines.items():
            removed = of.removed(query_id)
            check_scores(of.path, line, removed)
            found[query_id] = candidates(line, removed, self.k, self.margin)
            if unknown := [name for name in found[query_id] if name not in self._paths]:
                where = f"the gallery of {of.source.name} {of.split}"
                raise ValueError(f"{of.path}: query {query_id!r}: {unknown[0]!r} is no image of {where}")
        return found

    def ids(self) -> Sequence[str]:
        """All queries, in file order."""
        return list(self._in_doubt)

    def inquiries(self, ids: Iterable[str], assumed: bool = False) -> Iterator[Inquiry | Failure]:
        """The text, with the reference and then the candidate; for each candidate of a query in doubt."""
        for query_id in ids:
            query, of = self.given.query(query_id), self.given
            for name in self._in_doubt[query_id]:
                pictures = (str(of.source.image_path(of.split, query.reference_image)), str(self._paths[name]))
                yield Inquiry(query_id, {"text": query.text}, pictures, name)

    def read(self, inquiry: Inquiry, answer: Answer) -> Mapping[str, Any]:
        """The probability of one candidate."""
        found = {"image_id": inquiry.context, "probability": yes_probability(answer)}
        return {"query_id": inquiry.record_id, **found, "bare": not answer.logprobs}

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The queries, in any order, each when all of its candidates are known."""
        left = {query_id: len(self._in_doubt[query_id]) for query_id in ids}
        known: defaultdict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for query_id in [query_id for query_id, number in left.items() if not number]:
            del left[query_id]
            yield {"query_id": query_id, "candidates": {}, "bare": 0}
        try:
            for result in super().process(list(left)) if left else ():
                query_id = result.record_id if isinstance(result, Failure) else str(result["query_id"])
                if query_id not in left:
                    continue  # another of its candidates has failed
                if isinstance(result, Failure):
                    del left[query_id]
                    yield result
                    continue
                known[query_id][result["image_id"]] = result
                if len(known[query_id]) == left[query_id]:
                    del left[query_id]
                    yield self._record(query_id, known.pop(query_id))
        except MoneyUsedUp as error:
            log.warning("%d queries in doubt stay as they are: %s and retry_failures=true", len(left), error)
            for query_id in left:
                yield Failure(query_id, "unaffordable", f"{error} and retry_failures=true")

    def _record(self, query_id: str, known: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
        found = {name: known[name]["probability"] for name in self._in_doubt[query_id]}
        return {"query_id": query_id, "candidates": found, "bare": sum(one["bare"] for one in known.values())}
