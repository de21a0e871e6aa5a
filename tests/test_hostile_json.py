"""Every file of JSON or YAML that Diptych reads, with hostile contents: read as harmless, or refused with its name.

A file is written right, and read; then its content, or any value in it, is replaced by what nobody would write.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import yaml

from diptych.annotation.blind_marks import read_blind_review
from diptych.annotation.cost import Prices
from diptych.annotation.descriptions import read_descriptions
from diptych.annotation.reviews import read_reviews
from diptych.data.news.article_store import ArticleStore
from diptych.data.news.caption_lengths import LengthsFromFile
from diptych.data.news.captions_file import read_captions
from diptych.data.news.retrieval_file import read_retrieval
from diptych.data.pairs.image_folder import ImageFolder
from diptych.data.pairs.image_pairs import read_pairs
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.shards import ShardFolder
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.index.embedding_store import open_embeddings
from diptych.photos.image_faults import KeptVerdicts
from diptych.ranking.predictions_file import read_rankings
from diptych.report.data_card import write_data_card
from diptych.stages.running import times
from diptych.stages.running.manifest import open_folder
from diptych.storage.record_log import RecordLog, claim
from diptych.storage.run_status import read_status
from diptych.submission.circo import check_circo
from diptych.sweeping.comparison import compare_runs
from diptych.sweeping.resuming import of_resumed_sweep
from diptych.sweeping.table import write_table
from diptych.synthetic.generated_folder import generate_folder
from each_once import each_once
from run_folders import result, status

NESTED = 10_000
PAYLOADS = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a list of a list": b"[[]]",
    "a list of an object": b"[{}]",
    "nested lists": b"[" * NESTED + b"]" * NESTED,
    "nested objects": b'{"a":' * NESTED + b"1" + b"}" * NESTED,
    "nested 90 times": b'{"a":' * 90 + b"1" + b"}" * 90,
    "lists without end": b"[" * NESTED,
    "a number": b"7",
    "a text": b'"text"',
    "true": b"true",
    "an empty object": b"{}",
    "unknown keys": b'{"unknown": 1}',
    "NaN": b"[NaN, Infinity, -Infinity]",
    "an object of NaN": b'{"a": NaN}',
    "10^400": b'{"a": 1' + b"0" * 400 + b"}",
    "1e400": b'{"a": 1e400}',
    "10,000 digits": b'{"a": ' + b"1" * 10_000 + b"}",
    "a key twice": b'{"a": 1, "a": 2}',
    "a lone half": b'{"\\ud83d": "\\ude00"}',
    "controls": b'{"\\u0000": "\\u001b[31m\\u009b"}',
    "Latin-1": b'{"a": "caf\xe9"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a mark, and no more": b"\xef\xbb\xbf",
    "zeros": b"\0" * 1000,
    "no JSON": b"<html></html>",
}
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "-1": -1,
    "10^400": 10**400,
    "2^70": 2**70,
    "1.5": 1.5,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "an empty text": "",
    "a text": "text\ud83d\0",
    "a path": "../../../etc/passwd",
    "a list": [],
    "a list of a list": [[]],
    "an object": {},
    "an object in a list": [{"a": None}],
}


class Reader(NamedTuple):
    """A file by its name in a folder, its right content, and what reads it; `lines` is JSON lines. What stands in
    `others` lies beside it.
    """

    file: str
    content: Any
    read: Callable[[Path], Any]
    lines: bool = False
    others: Mapping[str, Any] = MappingProxyType({})
    yaml: bool = False


TRIPLET = {"query_id": "q", "reference_image": "a.png", "modification_texts": ["x"], "target_image": "b.png"}
CIRCO_QUERY = {
    "id": 1,
    "reference_img_id": 2,
    "target_img_id": 3,
    "relative_caption": "x",
    "shared_concept": "y",
    "gt_img_ids": [3],
    "semantic_aspects": ["addition"],
}
STATUS = json.loads(json.dumps(asdict(status())))
SIDES = {"A": "one", "B": "two"}
KEY = {
    "page": "p",
    "ways": {"one": "1.jsonl", "two": "2.jsonl"},
    "pairs": [{"pair_id": "x", "ways": SIDES, "sentences": {"A": ["s"], "B": []}}],
}
MARKS = {"page": "p", "annotator": "Ann", "marks": {"1/A/0": "right"}}
SUMMARY = dict.fromkeys(("triplets", "texts", "images", "pairs", "duplicate_pairs"), 1) | {
    "not_exported": {"a": 1},
    "dropped_texts": {},
    "reviews": {"decisions": 0},
}
MANIFEST = {
    "stage": "s",
    "key": "0" * 16,
    "settings": {"a": {"_target_": "x"}},
    "inputs": ["0"],
    "done": 1,
    "failed": {"b": 1},
    "ids": "0",
}
ARTICLE = {"url": "u", "date": "d", "title": "t", "images": ["a"], "content": "c"}
SHARDS = {
    "format": 1,
    "key": "k",
    "settings": {"sources": ["rooms"], "group_size": 1, "exploded": False, "distractors": True},
    "shards": [{"file": "0.tar", "triplets": 1, "bytes": 1}],
}
SCORES = [{"query_id": f"q{row}", "recall_at_1": 1} for row in range(2)]


def tabled(folder: Path) -> None:
    """One bad run does not stop the table: all three are in it."""
    assert {record.name for record in write_table(folder)} >= {"0", "2"}


def articles(folder: Path) -> None:
    store = ArticleStore.open(folder / "database.json", show_progress=False)
    assert all(store[article_id].article_id == article_id for article_id in store)


def verdicts(folder: Path) -> None:
    with KeptVerdicts(folder / "kept.jsonl") as kept:
        assert ("a.jpg", 1, 2) not in kept or isinstance(kept["a.jpg", 1, 2], str | None)


def card(folder: Path) -> None:
    write_data_card(folder, Prices({}))


def stage_times(folder: Path) -> None:
    times.StageTimes(folder)
    times.seconds_per_record(folder)


RUNS = {
    f"{name}/{file}": content
    for name in "012"
    for file, content in (("status.json", STATUS), ("metrics.json", result([1, 1])), ("scores.jsonl", SCORES))
}
CARD = {"summary.json": SUMMARY, "train.jsonl": [TRIPLET], "work/w/manifest.json": MANIFEST}
READERS = {
    "ranked predictions": Reader("p.json", {"q": ["a", 3]}, lambda f: read_rankings(f / "p.json").lists),
    "captions, JSON": Reader("c.json", {"q": "a caption"}, lambda f: read_captions(f / "c.json")),
    "captions, lines": Reader(
        "c.jsonl", [{"query_id": "q", "caption": "a"}], lambda f: read_captions(f / "c.jsonl"), True
    ),
    "lengths": Reader("l.json", {"q": 20}, lambda f: LengthsFromFile(f / "l.json").check(["q"])),
    "retrieval": Reader(
        "r.json",
        [{"query_id": "q", "results": [{"image_id": "i", "article_id": "a", "score": 0.5}]}],
        lambda f: read_retrieval(f / "r.json"),
    ),
    "reviews": Reader(
        "d.jsonl", [{"pair_id": "x", "sentence": None, "accepted": True}], lambda f: read_reviews(f / "d.jsonl"), True
    ),
    "blind key": Reader(
        "k.json", KEY, lambda f: read_blind_review(f / "k.json", [f / "m.json"]), others={"m.json": MARKS}
    ),
    "blind marks": Reader(
        "m.json", MARKS, lambda f: read_blind_review(f / "k.json", [f / "m.json"]), others={"k.json": KEY}
    ),
    "labels of a folder": Reader(
        "l.json", {"a.png": "x"}, lambda f: ImageFolder(f, str(f / "l.json")).group_of(["a.png"])
    ),
    "pairs": Reader(
        "p.jsonl",
        [{"reference_image": "a.png", "target_image": "b.png"}],
        lambda f: read_pairs(f / "p.jsonl"),
        True,
        others={"a.png": b"1", "b.png": b"2"},
    ),
    "own triplets": Reader("train.jsonl", [TRIPLET], lambda f: TripletJSONL(f).triplets("train"), True),
    "CIRCO": Reader("annotations/val.json", [CIRCO_QUERY], lambda f: CIRCO(f).queries("val")),
    "a submission": Reader(
        "s.json",
        {"1": [3] * 2},
        lambda f: check_circo(f / "s.json", CIRCO(f), "val"),
        others={"annotations/val.json": [CIRCO_QUERY]},
    ),
    "news database": Reader("database.json", {"1": ARTICLE}, articles),
    "record log": Reader(
        "r.jsonl", [{"query_id": "q", "a": [1]}], lambda f: RecordLog(f / "r.jsonl").read({"a": [int]}), True
    ),
    "claimed settings": Reader("r.json", {"a": {"b": 1}}, lambda f: claim(f / "r.json", {"a": {"b": 1}}, [])),
    "a stage's manifest": Reader("s/manifest.json", MANIFEST, lambda f: open_folder(f / "s", "s", {"a": 1})),
    "a manifest beside an input": Reader(
        "manifest.json", MANIFEST, lambda f: open_folder(f / "s", "s", {}, [f / "in.json"]), others={"in.json": {}}
    ),
    "a manifest set aside": Reader("s.old/manifest.json", MANIFEST, lambda f: open_folder(f / "s", "s", {})),
    "times": Reader("times.json", {"records": 1, "seconds": 0.5, "runs": 1}, stage_times),
    "status of a run": Reader("status.json", STATUS, read_status),
    "table: status.json": Reader("1/status.json", STATUS, tabled, others=RUNS),
    "table: metrics.json": Reader("1/metrics.json", result([1, 1]), tabled, others=RUNS),
    "table: metrics.json alone": Reader(
        "1/metrics.json", result([1, 1]), tabled, others={k: v for k, v in RUNS.items() if k != "1/status.json"}
    ),
    "table: overrides.yaml": Reader(
        "1/.hydra/overrides.yaml",
        ["a=1", "b=2"],
        tabled,
        others={k: v for k, v in RUNS.items() if k != "1/status.json"},
        yaml=True,
    ),
    "compared scores": Reader(
        "1/scores.jsonl", SCORES, lambda f: compare_runs(f / "0", f / "1", 10), True, others=RUNS
    ),
    "command of a sweep": Reader("command.json", {"words": ["a=1"]}, lambda f: of_resumed_sweep([f"sweep.resume={f}"])),
    "shards.json": Reader("shards.json", SHARDS, lambda f: ShardFolder(f), others={"0.tar": b"1"}),
    "embeddings.json": Reader(
        "embeddings.json",
        {
            "count": 0,
            "width": 2,
            "dtype": "float16",
            "ids_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "vectors_sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        },
        open_embeddings,
        others={"ids.jsonl": b""},
    ),
    "a generated set": Reader(
        "set/m.json", {"seed": 1}, lambda f: generate_folder(f / "set", "rooms", "m.json", {"seed": 1}, lambda _: None)
    ),
    "kept verdicts": Reader("kept.jsonl", [["a.jpg", 1, 2, None]], verdicts, True),
    "descriptions": Reader(
        "d.jsonl",
        [{"image": "a", "objects": [{"name": "x"}]}],
        lambda f: read_descriptions(f / "d.jsonl", "image"),
        True,
    ),
    "card: summary": Reader("summary.json", SUMMARY, card, others=CARD),
    "card: manifest": Reader("work/w/manifest.json", MANIFEST, card, others=CARD),
    "card: triplets": Reader("train.jsonl", [TRIPLET], card, True, others=CARD),
    "card: audit": Reader(
        "work/a/audit.json",
        {"pairs": 1, "ways": {"x": {"right": {"rate": 0.5, "interval": [0.1, 0.9], "of": 3}}}},
        card,
        others=CARD,
    ),
    "card: agreement": Reader(
        "work/a/agreement.json", {"share": 0.5, "interval": [0.1, 0.9], "sentences": 3, "model": "m"}, card, others=CARD
    ),
    "card: ways": Reader("work/a/ways.json", {"ways": {}}, card, others=CARD),
}


def written(reader: Reader, content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    if reader.yaml:
        return yaml.safe_dump(content).encode()
    lines = content if reader.lines else [content]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def put(folder: Path, reader: Reader, content: Any) -> None:
    for name, other in reader.others.items():
        kind = Reader(name, other, reader.read, name.endswith("jsonl"))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(written(kind, other))
    (folder / reader.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / reader.file).write_bytes(written(reader, content))


def check(folder: Path, reader: Reader) -> None:
    """Read as harmless, or refused in one line with the file's name, or its folder's."""
    try:
        reader.read(folder)
    except ValueError as error:
        assert not isinstance(error, UnicodeError | json.JSONDecodeError), repr(error)
        said = str(error).partition("\nIf it is your own")[0]
        assert str(folder) in said, said
        assert len(said.splitlines()) == 1 and len(said) < 2000, said
        said.encode()
    assert not (folder.parent / "etc").exists()


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every value in the content but itself."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(content: Any, place: tuple[Any, ...], value: Any, removed: bool = False) -> Any:
    made = copy.deepcopy(content)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    if removed:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return made


@pytest.mark.parametrize("name", READERS)
def test_what_is_right_is_read(name, tmp_path):
    reader = READERS[name]
    put(tmp_path, reader, reader.content)
    reader.read(tmp_path)


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(("name", "payload"), each_once(list(READERS), list(PAYLOADS)))
def test_another_content(name, payload, tmp_path):
    reader = READERS[name]
    put(tmp_path, reader, PAYLOADS[payload])
    check(tmp_path, reader)
    put(tmp_path, reader, written(reader, reader.content)[:-5] if not reader.yaml else b"- a: [")
    check(tmp_path, reader)


@pytest.mark.slow  # each in milliseconds, but more than a thousand
@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize(
    ("name", "value"),
    each_once([name for name in READERS if not name.startswith("table")], [*VALUES, "removed"]),
)
def test_another_value_in_it(name, value, tmp_path):
    reader = READERS[name]
    for number, place in enumerate(places(reader.content)):
        folder = tmp_path / str(number)
        folder.mkdir()
        put(folder, reader, changed(reader.content, place, VALUES.get(value), value == "removed"))
        check(folder, reader)


@pytest.mark.hostile("hostile run folders")
@pytest.mark.parametrize("value", [*VALUES, "removed"])
@pytest.mark.parametrize("name", [name for name in READERS if name.startswith("table")])
def test_bad_runs_in_a_table(name, value, tmp_path):
    """A run for every value in it that is another one."""
    reader = READERS[name]
    put(tmp_path, reader, reader.content)
    for number, place in enumerate(places(reader.content), start=3):
        for file, content in RUNS.items():
            if file.startswith("1/") and file in reader.others:
                own = Reader(file.replace("1/", f"{number}/"), content, reader.read, file.endswith("jsonl"))
                put(tmp_path, own, content)
        bad = reader._replace(file=reader.file.replace("1/", f"{number}/"), others={})
        put(tmp_path, bad, changed(reader.content, place, VALUES.get(value), value == "removed"))
    reader.read(tmp_path)


@pytest.mark.hostile("hostile files")
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_its_place(name, tmp_path):
    reader = READERS[name]
    put(tmp_path, reader, reader.content)
    (tmp_path / reader.file).unlink()
    os.mkfifo(tmp_path / reader.file)
    check(tmp_path, reader)
