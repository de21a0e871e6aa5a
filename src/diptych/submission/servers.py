"""Which source has which test server: the one place that knows them all."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from diptych.contracts.retrieval import RankedQuery, TripletSource
from diptych.data.news.openevents import OpenEvents
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.cirr import CIRR
from diptych.submission.circo import check_circo, write_circo
from diptych.submission.cirr import check_cirr, write_cirr
from diptych.submission.eventa import check_eventa
from diptych.submission.verdict import Verdict, describe

log = logging.getLogger(__name__)


def write(folder: Path, ranked: Iterable[RankedQuery], source: TripletSource, split: str = "test") -> list[Path]:
    """Write and check the files that the source's server takes; none for a source that has no server.

    A file that breaks a rule, for example because the gallery is short, is written all the same and the log says so.
    """
    if isinstance(source, CIRR):
        paths = list(write_cirr(ranked, folder))
    elif isinstance(source, CIRCO):
        paths = [write_circo(ranked, folder)]
    else:
        return []
    for path in paths:
        verdict = check(path, source, split)
        if verdict.violations:
            log.warning("the server would refuse this file:\n%s", describe(path, verdict).rstrip())
    return paths


def check(path: Path, source: CIRR | CIRCO | OpenEvents, split: str = "test") -> Verdict:
    """Check a submission file against the data of `source`; every violation is listed, in file order.

    Raises:
        ValueError: the file or the annotations cannot be read.
    """
    if isinstance(source, CIRR):
        return check_cirr(path, source, split)
    if isinstance(source, CIRCO):
        return check_circo(path, source, split)
    return check_eventa(path, source, split)
