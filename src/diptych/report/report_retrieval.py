"""The stage that writes the report of a run from photos to articles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diptych.contracts.news import NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.report.retrieval_report import write_retrieval_report
from diptych.stages.running.manifest import FILE
from diptych.stages.running.record_stage import RecordStage


@dataclass(frozen=True)
class FinishedStage:
    """A stage that the report is about: its name, its folder, and of its settings those that the report reads."""

    name: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)


class ReportRetrieval(RecordStage):
    """The page `output` about `stages`, whose folders are given by name in the order in which they ran. `verified` is
    the retrieval file that geometric verification was given.

    Its one record says which page it is; it is written anew when a stage has other settings, inputs or counts.
    """

    record_key = "page"
    runtime_settings = ("stages", "verified", "output")

    def __init__(
        self,
        stages: Mapping[str, str | Path],
        verified: str | Path,
        source: NewsSource,
        split: str,
        output: str | Path,
    ) -> None:
        if not stages:
            raise ValueError("the report has no stage to tell of; it comes after the stages that it is about")
        self.stages = {name: Path(folder) for name, folder in stages.items()}
        self.verified, self.source, self.split, self.output = Path(verified), source, split, Path(output)

    def input_files(self) -> Sequence[Path]:
        """What each stage was made with, and how it ended."""
        return [folder / FILE for folder in self.stages.values()]

    def output_files(self) -> Sequence[Path]:
        """The page."""
        return [self.output]

    def ids(self) -> Sequence[str]:
        """The one page."""
        return [self.output.name]

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """A record for it."""
        for name in ids:
            yield {"page": name, "stages": list(self.stages)}

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """The page."""
        settings = {"input": str(self.verified)}
        finished = [FinishedStage(name, of_stage, settings) for name, of_stage in self.stages.items()]
        page = write_retrieval_report(self.output.parent, finished, self.source, self.split)
        print(f"report: {page}")  # noqa: T201
