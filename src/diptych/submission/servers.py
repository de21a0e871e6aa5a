"""The files of a source's test server: written after an evaluation, and checked."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import RankedQuery, TripletSource
from diptych.submission.formats import format_of
from diptych.submission.verdict import Verdict, describe

log = logging.getLogger(__name__)


def write(folder: Path, ranked: Iterable[RankedQuery], source: TripletSource, split: str = "test") -> list[Path]:
    """Write and check the files that the source's server takes; none for a source that has no server.

    A file that breaks a rule, for example because the gallery is short, is written all the same and the log says so.
    """
    server = format_of(source)
    paths = server.write(folder, ranked) if server is not None else []
    for path in paths:
        verdict = server.check(path, source, split)
        if verdict.violations:
            log.warning("the server would refuse this file:\n%s", describe(path, verdict).rstrip())
    return paths


def check(path: Path, source: TripletSource | NewsSource, split: str = "test") -> Verdict:
    """Check a submission file against the data of `source`; every violation is listed, in file order.

    Raises:
        ValueError: the file or the annotations cannot be read, or the source has no test server.
    """
    server = format_of(source)
    if server is None:
        raise ValueError(f"data={source.name} has no test server")
    return server.check(path, source, split)
