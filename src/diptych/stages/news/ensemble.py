"""The rankings of several encoders to one ranking of articles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from diptych.contracts.news import Candidate
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import read_retrieval
from diptych.stages.news.retrieval_output import retrieval_record, write_records
from diptych.stages.running.record_stage import RecordStage


class RankFusion(Protocol):
    """One ranking out of several."""

    def fuse(self, rankings: Sequence[Sequence[Candidate]]) -> list[Candidate]:
        """Candidates of different articles, best first."""


class Ensemble(RecordStage):
    """Fuses the retrieval files `inputs`, query by query, in the order of the query ids. A query that one of them
    lacks fails as `not_in_all_inputs`.
    """

    runtime_settings = ("inputs", "output")

    def __init__(self, inputs: Sequence[str | Path], fusion: RankFusion, output: str | Path | None = None) -> None:
        self.inputs, self.fusion = [Path(path) for path in inputs], fusion
        self.output = None if output is None else Path(output)
        if not self.inputs:
            raise ValueError("inputs of the ensemble are empty; name retrieval files: inputs=[a.json,b.json]")

    def input_files(self) -> Sequence[Path]:
        """`inputs`."""
        return self.inputs

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return [] if self.output is None else [self.output]

    @cached_property
    def _rankings(self) -> list[dict[str, tuple[Candidate, ...]]]:
        return [read_retrieval(path) for path in self.inputs]

    def ids(self) -> Sequence[str]:
        """The query ids of all files, sorted."""
        return sorted({query_id for of_file in self._rankings for query_id in of_file})

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """One ranking for each query."""
        for query_id in ids:
            pairs = zip(self.inputs, self._rankings, strict=True)
            lacking = [str(path) for path, of_file in pairs if query_id not in of_file]
            if lacking:
                yield Failure(query_id, "not_in_all_inputs", f"{', '.join(lacking)} has no such query; retrieve it too")
            else:
                yield retrieval_record(query_id, self.fusion.fuse([of[query_id] for of in self._rankings]))

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`retrieval.json`, and the same as `output`."""
        write_records(folder, self.output_files())
