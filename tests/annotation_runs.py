"""Annotation commands against the loopback server: many quickly, some of them killed, and what they leave behind."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from diptych.data.pairs.image_pairs import ImagePair
from diptych.synthetic.server.server import AnnotationServer, ServerSettings
from forked_commands import ForkedCommands

STAGES = ("describe_reference", "describe_target", "write_modifications", "combine", "export")
KEY = "sk-this-must-not-be-written-anywhere"

# `die` is [number of records, seconds]: a process is killed so long after it has kept so many.
_PREPARATION = """
def arm(number, seconds):
    keep, left = runner._keep, [number]
    def watch(num_kept):
        due = left[0] >= 0
        left[0] -= num_kept
        if due and left[0] <= 0:
            left[0] = -1
            timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
            timer.daemon = True
            timer.start()
    def watched_keep(results, sink, failed):
        keep(results, sink, failed)
        watch(len(results))
    runner._keep = watched_keep
    watch(0)
"""


class Commands(ForkedCommands):
    """Runs `python -m diptych.pipeline` with given words in `folder`."""

    def __init__(self, folder: Path) -> None:
        environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "NO_PROXY": "127.0.0.1"}
        environment |= {"DIPTYCH_RUNS": str(folder / "runs"), "DIPTYCH_DATA": str(folder / "data")}
        super().__init__(folder, os.environ | environment, _PREPARATION)

    def run(self, *words: str, die: Sequence[float] | None = None, key: str = KEY) -> tuple[int, str]:
        """The exit code and the output of one command."""
        return self.together(words, die=die, key=key)[0]

    def together(
        self, *all_words: Sequence[str], die: Sequence[float] | None = None, key: str = KEY
    ) -> list[tuple[int, str]]:
        """Those of commands that run at the same time. The key is in no output."""
        on_the_cpu = [[*words, "trainer=cpu"] for words in all_words]
        results = super().together(*on_the_cpu, die=die, environment={"OPENAI_API_KEY": key})
        assert not key or not any(key in output for _, output in results)
        return results


@contextmanager
def serving(place: Path, **settings: Any) -> Iterator[AnnotationServer]:
    """A server that wants the key, about the set in `place/rooms`."""
    with AnnotationServer(ServerSettings(scenes=place / "rooms", api_key=KEY, **settings)) as server:
        yield server


def annotate(server: AnnotationServer, out: str | Path, *more: str, pairs: str = "pairs.jsonl") -> list[str]:
    """The words of a command that annotates pairs of rooms."""
    names = [f"pairs={pairs}", f"out={out}", "model=gpt-4o", f"base_url={server.base_url}"]
    return ["pipeline=annotate_triplets", *names, "domain=hotel", "max_objects=12", "concurrency=4", *more]


def write_pairs(path: Path, images: Sequence[tuple[str, str]], root: str) -> None:
    """Pairs p0, p1, ... of the images with these names."""
    pairs = [
        {"pair_id": f"p{number}", "reference_image": f"{root}{reference}", "target_image": f"{root}{target}"}
        for number, (reference, target) in enumerate(images)
    ]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def lines(path: Path) -> list[Any]:
    """The records of a file; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def num_records(out: Path) -> int:
    """How many whole records the stages have made."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("work/*/records.jsonl"))


def export_of(out: Path) -> dict[str, bytes]:
    """The exported files by name."""
    paths = [out / "train.jsonl", out / "summary.json", *sorted((out / "images").iterdir())]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def records_of(out: Path) -> dict[str, bytes]:
    """The record files by stage."""
    return {path.parent.name: path.read_bytes() for path in sorted(out.glob("work/*/records.jsonl"))}


def outcomes(out: Path, pairs: Sequence[ImagePair]) -> dict[str, Counter[str]]:
    """The reasons of failures by stage, after a look whether every record has come to one end."""
    reasons = {}
    for stage in STAGES:
        key = {"describe_reference": "image", "export": "query_id"}.get(stage, "pair_id")
        ids = [pair.reference_image if key == "image" else pair.pair_id for pair in pairs]
        done, failed = (lines(out / f"work/{stage}/{name}.jsonl") for name in ("records", "failures"))
        ended = [record[key] for record in (*done, *failed)]
        assert sorted(ended) == sorted(set(ids)), stage
        assert all(failure["reason"] and failure["message"] for failure in failed)
        reasons[stage] = Counter(failure["reason"] for failure in failed)
    return reasons


def started(server: AnnotationServer) -> int:
    """How many questions have come to the server."""
    return server.count()["total"]["started"]


def states(out: Path) -> Counter[str]:
    """How many of the ledger's questions are in each state."""
    return Counter(state for (state,) in _questions(out, "state", "TRUE"))


def in_flight(out: Path) -> set[tuple[str, str]]:
    """By owner and key what was sent, in no batch, and neither answered nor sent again."""
    return set(_questions(out, "owner, key", "state = 'sent' AND batch IS NULL"))


def _questions(out: Path, columns: str, condition: str) -> list[Any]:
    if not (out / "ledger.sqlite").exists():
        return []
    with closing(sqlite3.connect(out / "ledger.sqlite")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'questions'").fetchone():
            return []
        return connection.execute(f"SELECT {columns} FROM questions WHERE {condition}").fetchall()
