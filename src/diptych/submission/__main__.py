"""Submission files of test servers, from the command line: CIRR's, CIRCO's, and EVENTA's for OpenEvents.

    python -m diptych.submission check FILE data=cirr|circo|openevents [root=PATH] [split=test] [test_set=private]
    python -m diptych.submission write predictions=FILE retrieval=FILE data=openevents output=FOLDER [split=test] ...

A file that passes has exactly the server's keys and lists; whether its answers are right only the server knows. CIRR's
and CIRCO's files are written by `evaluate.py ... split=test`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import TripletSource
from diptych.data.news.captions_file import read_captions
from diptych.data.news.openevents import OpenEvents
from diptych.data.news.retrieval_file import article_ids, read_retrieval
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.cirr import CIRR
from diptych.submission.formats import format_of
from diptych.submission.servers import check
from diptych.submission.verdict import describe

SOURCES = {"cirr": CIRR, "circo": CIRCO, "openevents": OpenEvents}
_DATA_KEYS = ("data", "root", "split", "test_set")
_WRITE_KEYS = ("predictions", "retrieval", "output")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or write a file. Returns 0 if it keeps the rules, 1 if not, 2 if it cannot be checked or written."""
    parser = argparse.ArgumentParser(
        prog="python -m diptych.submission", description="Write and check submission files, offline."
    )
    actions = parser.add_subparsers(dest="action", required=True)
    checking = actions.add_parser("check", help="check a file")
    checking.add_argument("file", type=Path)
    checking.add_argument("settings", nargs="+", metavar=f"data={'|'.join(SOURCES)} [root=PATH] [split=test]")
    writing = actions.add_parser("write", help="write EVENTA's submission.zip")
    writing.add_argument("settings", nargs="+", metavar="predictions=FILE retrieval=FILE data=openevents output=FOLDER")
    parsed = parser.parse_args(arguments)
    try:
        values = _settings(parsed.settings, _DATA_KEYS + (_WRITE_KEYS if parsed.action == "write" else ()))
        source, split = _source(values), values.get("split", "test")
        path = parsed.file if parsed.action == "check" else _write(values, source, split)
        verdict = check(path, source, split)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(describe(path, verdict))
    return 1 if verdict.violations else 0


def _write(values: Mapping[str, str], source: TripletSource | NewsSource, split: str) -> Path:
    """The server's file of captions, from a prediction file and a retrieval file."""
    if source.kind != NewsSource.kind:
        raise ValueError(f"evaluate.py ... split=test writes the files of data={source.name}; here: data=openevents")

    for key in _WRITE_KEYS:
        if key not in values:
            raise ValueError(f"{key}=... is missing; write needs {', '.join(f'{name}=...' for name in _WRITE_KEYS)}")
    articles = article_ids(read_retrieval(values["retrieval"]))
    query_ids = [query.query_id for query in source.queries(split)]
    captions = read_captions(Path(values["predictions"]))
    (path,) = format_of(source).write(Path(values["output"]), captions, articles, query_ids)
    return path


def _settings(words: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    values = dict(word.partition("=")[::2] for word in words)
    if values.keys() - set(known) or not all(values.values()):
        raise ValueError(f"cannot read {' '.join(words)!r}; expected {', '.join(f'{key}=...' for key in known)}")
    return values


def _source(values: Mapping[str, str]) -> TripletSource | NewsSource:
    data = values.get("data")
    if data not in SOURCES:
        raise ValueError(f"data={data} has no test server; choose {', '.join(f'data={name}' for name in SOURCES)}")
    root = values.get("root") or Path(os.environ.get("DIPTYCH_DATA", "data")) / data
    if data == "openevents":
        return OpenEvents(root, test_set=values.get("test_set", "public"))
    if "test_set" in values:
        raise ValueError(f"test_set={values['test_set']} chooses among OpenEvents' test sets; data={data} has one")
    return SOURCES[data](root)


if __name__ == "__main__":
    sys.exit(main())
