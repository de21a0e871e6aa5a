"""What most stages have in common: records as JSON lines, nothing read from other stages, nothing else written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from diptych.contracts.pipelines import CostEstimate, Failure, RecordSink, Result, SharedWork
from diptych.storage.record_log import RecordFile


class RecordStage:
    """The defaults of a Stage. What is left to write is `ids`, and `process` or `shared_work`."""

    record_key = "query_id"
    runtime_settings: tuple[str, ...] = ()

    def input_files(self) -> Sequence[Path]:
        """None."""
        return ()

    def output_files(self) -> Sequence[Path]:
        """None."""
        return ()

    def open_sink(self, folder: Path, part: int | None) -> RecordSink:
        """Where the records go; `part` numbers the process where several work at once."""
        return RecordFile(folder, self.record_key, part)

    def ids(self) -> Sequence[str]:
        """What is to be done."""
        raise NotImplementedError(f"{type(self).__name__} has no ids()")

    def shared_work(self) -> SharedWork | None:
        """None: `process` makes the records."""
        return None

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """The results for these of the ids."""
        raise NotImplementedError(f"{type(self).__name__} has neither process() nor shared_work()")

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Nothing but the records."""

    def estimate(self) -> CostEstimate | None:
        """None: it asks nobody."""
        return None
