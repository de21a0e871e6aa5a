"""Captions in a file are scored against the newsroom set, by the command and by its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych.contracts.news import CaptionItem, NewsQuery
from diptych.metrics.captions.cider import CIDEr, cider
from diptych.metrics.captions.length import Length
from diptych.metrics.captions.record_metric import CaptionScores
from diptych.results.caption_evaluation import (
    caption_items,
    captions_record,
    read_captions,
    score_captions,
    write_caption_results,
)
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.newsroom.source import Newsroom
from tiny_runs import run_evaluate

SETTINGS = NewsroomSettings(num_train_families=1, num_val_families=1, num_test_families=2)
QUERIES = [NewsQuery("a", ("a red bus in the rain", "a bus")), NewsQuery("b", ("two dogs on the beach",))]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generate_newsroom(folder / "newsroom", SETTINGS, num_workers=1)
    return folder


def evaluate_captions(data, folder, captions, *words):
    folder.mkdir(exist_ok=True)
    (folder / "captions.json").write_text(json.dumps(captions))
    sizes = [f"data.sources.newsroom.settings.num_{s}_families={n}" for s, n in (("train", 1), ("val", 1), ("test", 2))]
    return run_evaluate(
        folder / "run",
        f"predictions={folder / 'captions.json'}",
        "data=newsroom",
        f"data_dir={data}",
        *(f"++{size}" for size in sizes),
        "system/metrics@caption_metrics=[cider,bleu,rouge_l,length]",
        *words,
    )


def test_perfect_captions_score_highest_and_others_less(data, tmp_path):
    queries = Newsroom(data / "newsroom", SETTINGS).queries("test")
    perfect = {query.query_id: query.reference_captions[0] for query in queries}
    record = evaluate_captions(data, tmp_path / "perfect", perfect)
    assert record["metrics"]["cider"] == pytest.approx(10.0)
    assert record["metrics"]["bleu_4"] == pytest.approx(1.0) and record["metrics"]["rouge_l"] == pytest.approx(1.0)
    assert record["queries"] == {"scored": 8, "expected": 8} and record["data"] == ["newsroom"]
    assert "N=8" in record["lines"]["cider"]
    halves = {query_id: " ".join(text.split()[:10]) for query_id, text in perfect.items()}
    halves[queries[0].query_id] = ""
    worse = evaluate_captions(data, tmp_path / "halves", halves)
    assert 0 < worse["metrics"]["rouge_l"] < 0.7 and worse["metrics"]["empty_captions"] == 1
    lines = [json.loads(line) for line in (tmp_path / "halves/run/predictions.jsonl").read_text().splitlines()]
    assert {line["query_id"]: line["caption"] for line in lines} == halves
    assert all({"cider", "rouge_l"} <= line.keys() for line in lines)


def test_a_missing_or_unknown_query_is_named(data, tmp_path):
    queries = Newsroom(data / "newsroom", SETTINGS).queries("test")
    captions = {query.query_id: "x" for query in queries[1:]}
    with pytest.raises(ValueError, match=f"1 of 8 queries have no caption.*{queries[0].query_id}"):
        evaluate_captions(data, tmp_path / "short", captions)
    with pytest.raises(ValueError, match="1 of 8 captions belong to no query of the split: stranger"):
        evaluate_captions(data, tmp_path / "long", {query.query_id: "x" for query in queries} | {"stranger": "y"})


def test_scores_are_those_of_the_function():
    predictions = {"b": "dogs on a beach", "a": "a bus in the rain"}
    items = caption_items(predictions, QUERIES, Path("photos").joinpath)
    assert items[0] == CaptionItem("a", "a bus in the rain", QUERIES[0].reference_captions, None, Path("photos/a"))
    scores = score_captions(items, {"cider": CIDEr()})
    expected, _ = cider([predictions["a"], predictions["b"]], [query.reference_captions for query in QUERIES])
    assert scores["cider"].corpus["cider"] == pytest.approx(expected)


def test_what_does_not_apply_is_null(tmp_path):
    scores = {
        "length": score_captions([CaptionItem("a", "x y", ("x",)), CaptionItem("b", "")], {"l": Length()})["l"],
        "other": CaptionScores({"none": float("nan")}, {"one": np.array([0.5, float("nan")])}, num_items=2),
    }
    record = captions_record(scores, 2, split="val")
    write_caption_results(tmp_path, record, [CaptionItem("b", ""), CaptionItem("a", "x y")], scores)
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)["metrics"]
    assert metrics["none"] is None and metrics["mean_words"] == 1 and metrics["length_ratio"] == 2
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [
        {"query_id": "a", "caption": "x y", "words": 2, "length_ratio": 2, "one": 0.5},
        {"query_id": "b", "caption": "", "words": 0, "length_ratio": None, "one": None},
    ]


def test_two_metrics_of_one_name_are_refused():
    scores = {"first": CaptionScores({"x": 1.0}, {}), "second": CaptionScores({"x": 2.0}, {})}
    with pytest.raises(ValueError, match="the metric second gives x"):
        captions_record(scores, 2)


def test_both_forms_of_file_are_read(tmp_path):
    (tmp_path / "one.json").write_text('{"a": "x", "b": "y"}')
    (tmp_path / "two.jsonl").write_text('{"query_id": "a", "caption": "x"}\n\n{"query_id": "b", "caption": "y"}\n')
    assert read_captions(tmp_path / "one.json") == read_captions(tmp_path / "two.jsonl") == {"a": "x", "b": "y"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"a": "x",\n oops}', r"a\.json:2: not JSON"),
        ("a.json", '["a"]', "expected one JSON object"),
        ("a.json", '{"a": 3}', "expected one JSON object"),
        ("a.json", '{"a": "x", "a": "y"}', "'a' occurs twice"),
        ("a.jsonl", '{"query_id": "a", "caption": "x"}\n{"query_id": "b"}\n', r"a\.jsonl:2: .*caption"),
        ("a.jsonl", '{"query_id": "a", "caption": 3}\n', r"a\.jsonl:1: .* must be texts"),
        ("a.jsonl", '{"query_id": "a", "caption": "x"}\n{"query_id": "a", "caption": "y"}\n', "'a' occurs twice"),
    ],
)
def test_a_file_that_is_neither_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_captions(tmp_path / name)
    with pytest.raises(ValueError, match="cannot be read"):
        read_captions(tmp_path / "absent.json")
