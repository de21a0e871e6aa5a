"""What most stages have in common: records as JSON lines, nothing read from other stages, nothing else written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.contracts.pipelines import Failure, RecordSink
from diptych.storage.record_log import RecordFile


class RecordStage:
    """The defaults of a Stage. `output_files` are files outside the stage's folder that `write_output` makes."""

    record_key = "query_id"
    runtime_settings: tuple[str, ...] = ()
    input_files: Sequence[Path] = ()
    output_files: Sequence[Path] = ()

    def open_sink(self, folder: Path, part: int | None) -> RecordSink:
        """Where the records go; `part` numbers the process where several work at once."""
        return RecordFile(folder, self.record_key, part)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """Nothing but the records."""
