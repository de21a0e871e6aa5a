"""Submission files of test servers, from the command line: CIRR's, CIRCO's, and EVENTA's for OpenEvents.

    python -m diptych.submission check FILE data=cirr|circo|openevents [root=PATH] [split=test] [test_set=private]
    python -m diptych.submission write predictions=FILE retrieval=FILE data=openevents output=FOLDER [split=test] ...

A file that passes has exactly the server's keys and lists; whether its answers are right only the server knows. CIRR's
and CIRCO's files are written by `evaluate.py ... split=test`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from diptych.config.arguments import run
from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import TripletSource
from diptych.text.printable import printable

_SERVERS = ("cirr", "circo", "openevents")


def check(
    file: Annotated[Path, "the file to check"],
    /,
    *,
    data: Annotated[str, "whose test server it is for: cirr, circo or openevents"],
    root: Annotated[Path | None, "where the dataset lies, if not in data/NAME"] = None,
    split: Annotated[str, "the split that it answers"] = "test",
    test_set: Annotated[str | None, "of OpenEvents: public or private"] = None,
) -> int:
    """Does a file keep the rules of a test server? Whether its answers are right only the server knows. Exit status 1
    if it breaks a rule.
    """
    return _report_on(file, _source(data, root, test_set), split)


def write(
    *,
    predictions: Annotated[Path, "captions: {query id: caption} in JSON, or JSON lines"],
    retrieval: Annotated[Path, "the ranked images or articles of each query"],
    data: Annotated[str, "openevents"],
    output: Annotated[Path, "the folder to write"],
    root: Annotated[Path | None, "where the dataset lies, if not in data/NAME"] = None,
    split: Annotated[str, "the split that it answers"] = "test",
    test_set: Annotated[str | None, "of OpenEvents: public or private"] = None,
) -> int:
    """EVENTA's submission.zip, written and checked. CIRR's and CIRCO's files come from evaluate, with split=test."""
    from diptych.data.news.captions_file import read_captions
    from diptych.data.news.retrieval_file import article_ids, read_retrieval_of
    from diptych.ranking.known_ids import with_known_keys
    from diptych.submission.formats import format_of

    source = _source(data, root, test_set)
    if source.kind != NewsSource.kind:
        raise ValueError(f"evaluate.py ... split=test writes the files of data={source.name}; here: data=openevents")
    query_ids = [query.query_id for query in source.queries(split)]
    articles = article_ids(read_retrieval_of(retrieval, query_ids))
    (path,) = format_of(source).write(
        output, with_known_keys(read_captions(predictions), query_ids, "captions"), articles, query_ids
    )
    return _report_on(path, source, split)


def _report_on(path: Path, source: TripletSource | NewsSource, split: str) -> int:
    from diptych.submission.servers import check as check_file
    from diptych.submission.verdict import describe

    verdict = check_file(path, source, split)
    sys.stdout.write(printable(describe(path, verdict)))
    return 1 if verdict.violations else 0


def _source(data: str, root: Path | None, test_set: str | None) -> TripletSource | NewsSource:
    if data not in _SERVERS:
        raise ValueError(f"data={data} has no test server; choose {', '.join(f'data={name}' for name in _SERVERS)}")
    from diptych.data.news.openevents import OpenEvents
    from diptych.data.triplets.circo import CIRCO
    from diptych.data.triplets.cirr import CIRR

    root = root or Path(os.environ.get("DIPTYCH_DATA", "data")) / data
    if data == "openevents":
        return OpenEvents(root, test_set=test_set or "public")
    if test_set is not None:
        raise ValueError(f"test_set={test_set} chooses among OpenEvents' test sets; data={data} has one")
    return {"cirr": CIRR, "circo": CIRCO}[data](root)


def main(arguments: list[str]) -> int:
    """`python -m diptych.submission check ...` and `... write ...`."""
    actions: dict[str, Callable[..., int | None]] = {"check": check, "write": write}
    if not arguments or arguments[0] not in actions:
        sys.stderr.write("error: say which: check FILE data=NAME, or write predictions=FILE ...\n")
        return 2
    return run(actions[arguments[0]], f"python -m diptych.submission {arguments[0]}", arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
