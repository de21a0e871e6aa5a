"""The CSV file of base captions that the stages which make them leave."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from diptych.contracts.pipelines import Failure
from diptych.storage.record_log import RecordFile
from diptych.storage.whole import write_text

FILE = "base_captions.csv"
COLUMNS = ("query_id", "matched_image_id", "caption")

log = logging.getLogger(__name__)


def write_base_captions(folder: Path, output_files: Sequence[Path], failures: Sequence[Failure]) -> None:
    """Writes the records in a stage's folder as `read_base_captions` reads them, there and to the other files. Photos
    that failed have no row, and are counted in the log.
    """
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(RecordFile(folder, "query_id").records().values())
    for path in (folder / FILE, *output_files):
        write_text(path, text.getvalue())
    if failures:
        log.warning("%d photos have no base caption; their captions will be written without one", len(failures))
