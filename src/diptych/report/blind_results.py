"""What a blind review has found, from its key and the files that the annotators saved.

diptych blind rates key=blind/blind_key.json files=[blind_ann.json,blind_bob.json]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from diptych.annotation.blind_marks import read_blind_review
from diptych.annotation.blind_rates import blind_rates, blind_tables
from diptych.storage.json_files import write_json

RATES = "blind_rates.json"


def rates(
    *,
    key: Annotated[Path, "the key that was written beside the page"],
    files: Annotated[list[Path], "what the annotators saved, a file of each"],
    out: Annotated[Path | None, "where to write; blind_rates.json beside the key unless given"] = None,
) -> None:
    """The rates of both ways with intervals and a paired test, preferences, Cohen's kappa between annotators, and where
    they disagree: printed, and written as JSON.
    """
    if not files:
        raise ValueError("files=[...] names no file; give what the page has saved, a file of each annotator")
    found = blind_rates(read_blind_review(key, files))
    path = out or key.parent / RATES
    write_json(path, found, indent=1, ascii_only=False)
    sys.stdout.write(f"{blind_tables(found)}\n\n{path}\n")
