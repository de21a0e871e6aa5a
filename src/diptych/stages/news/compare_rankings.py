"""What each encoder adds to the ensemble, and what verification made of its order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import read_retrieval_of
from diptych.index.rank_fusion import without
from diptych.ranking.fitted_protocol import beyond
from diptych.stages.news.ensemble import RankFusion
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.record_log import RecordLog

ENSEMBLE, VERIFIED = "ensemble", "verified"
_SEARCH = "retrieve_images_"  # the stages of the encoders: what comes behind it is the encoder


class ComparesRankings(Protocol):
    """See `diptych.metrics.captions.complementarity.Complementarity`."""

    def of_query(
        self,
        encoders: Mapping[str, Sequence[Candidate] | None],
        fused: Mapping[str, Sequence[Candidate] | None],
        article_id: str | None,
        verified: tuple[Sequence[Candidate] | None, Sequence[Candidate] | None],
    ) -> dict[str, Any]:
        """One query."""

    def summarise(self, records: Sequence[Mapping[str, Any]], encoders: Sequence[str]) -> dict[str, Any]:
        """All queries."""


class CompareRankings(RecordStage):
    """Holds the encoders' rankings against one another: how much they overlap, what the ensemble is without each of
    them, what all of them hold together, and where verification moved the right article.

    A record holds a query's values; `metrics.json` their means, with what they show in words under `signatures`, and
    under `left_out` the metrics whose K is larger than the number of articles, where everything is found.
    Without known answers only overlap, and how often the order was changed, can be told.

    Args:
        rankings: The encoders' retrieval files by the name of the stage that made each.
        ensemble: Of them all, as verification was given it.
        verified: As verification left it.
        verification: The counts that verification wrote.
        fusion: What made `ensemble`; it fuses all but one.
        source: The news data, whose `split` says which articles are right.
        split: Of the source's queries.
        measure: Compares rankings.
        signatures: What the numbers show, in sentences; None for none.
    """

    runtime_settings = ("rankings", "ensemble", "verified", "verification", "signatures")

    def __init__(
        self,
        rankings: Mapping[str, str | Path],
        ensemble: str | Path,
        verified: str | Path,
        verification: str | Path,
        fusion: RankFusion,
        source: NewsSource,
        split: str,
        measure: ComparesRankings,
        signatures: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    ) -> None:
        self.rankings = {name.removeprefix(_SEARCH): Path(path) for name, path in rankings.items()}
        self.ensemble, self.verified, self.verification = Path(ensemble), Path(verified), Path(verification)
        self.fusion, self.source, self.split = fusion, source, split
        self.measure, self.signatures = measure, signatures
        if not self.rankings:
            raise ValueError("compare_rankings has no encoder's ranking to compare")

    def input_files(self) -> Sequence[Path]:
        """The rankings, and the counts."""
        return [*self.rankings.values(), self.ensemble, self.verified, self.verification]

    def ids(self) -> Sequence[str]:
        """The split's queries, in its order."""
        return [query.query_id for query in self.source.queries(self.split)]

    @cached_property
    def _found(self) -> dict[str, dict[str, tuple[Candidate, ...]]]:
        paths = {**self.rankings, ENSEMBLE: self.ensemble, VERIFIED: self.verified}
        return {name: read_retrieval_of(path, self.ids()) for name, path in paths.items()}

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """A query's values."""
        answers = {query.query_id: query.article_id for query in self.source.queries(self.split)}
        names = list(self.rankings)
        smaller = [without(self.fusion, place) for place in range(len(names))] if len(names) > 1 else []
        for query_id in ids:
            found = {name: of.get(query_id) for name, of in self._found.items()}
            encoders = {name: found[name] for name in names}
            fused = {name: found[name] for name in (ENSEMBLE, VERIFIED)}
            for place, fusion in enumerate(smaller):
                left = [ranking for other, ranking in encoders.items() if other != names[place]]
                known = None not in left
                fused[f"without {names[place]}"] = tuple(fusion.fuse(left)) if known else None
            order = (found[ENSEMBLE], found[VERIFIED])
            yield {"query_id": query_id, **self.measure.of_query(encoders, fused, answers[query_id], order)}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`metrics.json`."""
        records = list(RecordLog(folder / "records.jsonl").read().values())
        means = self.measure.summarise(records, list(self.rankings))
        counts = read_json(self.verification, "remove its folder, and run the pipeline again")
        verification = None
        if sum(counts["outcomes"].values()):  # with policy=off nothing was compared
            moved = {key: means.pop(key) for key in ("first_won", "first_lost") if key in means}
            verification = {**counts, "orders": means["orders"], **moved}
        means = {key: means[key] for key in ("overlap", "metrics")}
        every = dict.fromkeys(name for values in means["metrics"].values() for name in values)
        if left_out := beyond(every, len(self.source.articles())):
            means["metrics"] = {
                ranking: {name: value for name, value in values.items() if name not in left_out}
                for ranking, values in means["metrics"].items()
            }
            means["left_out"] = left_out
        answered = sum(bool(record["ranks"]) for record in records)
        about = {"split": self.split, "queries": len(records), "answered": answered, "encoders": list(self.rankings)}
        content = {**about, **means, "verification": verification}
        if self.signatures is not None:
            content["signatures"] = list(self.signatures(content))
        write_json(folder / "metrics.json", content)
