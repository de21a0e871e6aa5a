"""Are the images there? A look at the folder, without decoding: the doctor decodes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from diptych.contracts.retrieval import TripletSource

log = logging.getLogger(__name__)


def absent_files(files: Mapping[str, Path]) -> dict[str, str]:
    """The images whose file is missing or empty, with the reason, by image id."""
    reasons = {}
    for image_id, path in files.items():
        try:
            if os.stat(path).st_size == 0:  # noqa: PTH116 - 123,000 files: Path.stat takes twice as long
                reasons[image_id] = f"{path} is empty"
        except OSError:
            reasons[image_id] = f"{path} is missing"
    return reasons


def complain_about(absent: Mapping[str, str], total: int, source: TripletSource, split: str, on_missing: str) -> None:
    """Raises ValueError that says what is missing and what to do; with `on_missing=drop` it is a warning."""
    message = (
        f"{source.name}/{split}: {total - len(absent)} of {total} images are there; "
        f"first of {len(absent)} absent: {'; '.join(list(absent.values())[:3])}. "
    )
    if on_missing == "drop":
        log.warning("%sLeft out; results are marked partial.", message)
        return
    raise ValueError(
        f"{message}A short gallery inflates recall. `python -m diptych.doctor data={Path(source.docs_page).stem}` lists"
        f" them all; {source.docs_page} says where they come from; data.images.on_missing=drop continues without them,"
        " marked partial."
    )
