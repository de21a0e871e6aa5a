"""Captions in a file are scored against the newsroom set, by the command and by its parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diptych.contracts.news import CaptionItem, NewsQuery
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.metrics.captions.cider import CIDEr, cider
from diptych.metrics.captions.length import Length
from diptych.metrics.captions.rouge_l import RougeL
from diptych.results.caption_evaluation import (
    caption_items,
    captions_record,
    reference_scores,
    score_captions,
)
from diptych.sweeping.comparison import compare_runs
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.newsroom.source import Newsroom
from tiny_runs import run_evaluate

pytestmark = pytest.mark.slow

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
    few = evaluate_captions(data, tmp_path / "few", halves, "metrics=[length]")  # as of a checkpoint
    assert few["metrics"]["empty_captions"] == 1 and "rouge_l" not in few["metrics"]
    differences, left_out, _ = compare_runs(tmp_path / "halves/run", tmp_path / "perfect/run")
    assert "rouge_l" in {row.metric for row in differences} and "bleu_4" in left_out


def test_a_missing_or_unknown_query_is_named(data, tmp_path):
    queries = Newsroom(data / "newsroom", SETTINGS).queries("test")
    captions = {query.query_id: "x" for query in queries[1:]}
    with pytest.raises(ValueError, match=f"1 of 8 queries have no caption.*{queries[0].query_id}"):
        evaluate_captions(data, tmp_path / "short", captions)
    with pytest.raises(ValueError, match=r"1 captions for unknown queries \(of 8 queries\): 'stranger'. There is"):
        evaluate_captions(data, tmp_path / "long", {query.query_id: "x" for query in queries} | {"stranger": "y"})


def test_scores_are_those_of_the_function():
    predictions = {"b": "dogs on a beach", "a": "a bus in the rain"}
    items = caption_items(predictions, QUERIES, Path("photos").joinpath)
    assert items[0] == CaptionItem("a", "a bus in the rain", QUERIES[0].reference_captions, None, Path("photos/a"))
    scores = score_captions(items, {"cider": CIDEr()})
    expected, _ = cider([predictions["a"], predictions["b"]], [query.reference_captions for query in QUERIES])
    assert scores["cider"].corpus["cider"] == pytest.approx(expected)


def test_a_metric_that_speaks_of_other_queries_is_refused():
    class Own(Length):
        def compute(self):
            return CaptionScores({"own": 1.0}, {"own": np.array([1.0])}, query_ids=("photo-a",))

    with pytest.raises(ValueError, match="metric own gives values for 1 queries .* such as 'photo-a'"):
        score_captions([CaptionItem("a", "x y", ("x",))], {"own": Own()})


def test_what_does_not_apply_is_null(tmp_path):
    items = [CaptionItem("b", ""), CaptionItem("a", "x y", ("x",))]
    scores = {
        "length": score_captions(items, {"l": Length()})["l"],
        "other": CaptionScores(
            {"none": float("nan")}, {"one": np.array([0.5, float("nan")])}, query_ids=("a", "b"), num_items=2
        ),
    }
    captions_record(scores, items, split="val").write(tmp_path)
    record = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)
    metrics = record["metrics"]
    assert metrics["none"] is None and metrics["mean_words"] == 1 and metrics["length_ratio"] == 2
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    of_a, of_b = {"words": 2, "length_ratio": 2, "one": 0.5}, {"words": 0, "length_ratio": None, "one": None}
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [
        {"query_id": "a", "caption": "x y", **of_a},
        {"query_id": "b", "caption": "", **of_b},
    ]
    lines = (tmp_path / "scores.jsonl").read_text().splitlines()  # in the order of the split
    assert [json.loads(line) for line in lines] == [{"query_id": "b", **of_b}, {"query_id": "a", **of_a}]


def test_metrics_say_what_they_mean():
    items = [CaptionItem("a", "x y", ("x",))]
    own = CaptionScores({"error_rate": 0.5, "own": 2.0}, {}, about={"error_rate": ("fraction", "lower")})
    about = captions_record({**score_captions(items, {"l": Length()}), "own": own}, items).content()["about"]
    assert about["error_rate"] == {"unit": "fraction", "better": "lower"}
    assert about["own"] == {"unit": "score", "better": "higher"}
    assert about["mean_words"] == {"unit": "count", "better": None}
    assert about["empty_captions"] == {"unit": "count", "better": "lower"}


def test_two_scored_files_are_compared(tmp_path):
    """A file of captions leaves the values per query, as a checkpoint's captions do."""
    for name, first in (("good", "a red bus in the rain"), ("bad", "a cat")):
        items = caption_items({"a": first, "b": "two dogs on the beach"}, QUERIES, Path("photos").joinpath)
        origin = {"experiment": "predictions", "data": ["newsroom"], "split": "val"}
        captions_record(score_captions(items, {"rouge_l": RougeL()}), items, **origin).write(tmp_path / name)
    (difference,), _, _ = compare_runs(tmp_path / "bad", tmp_path / "good")
    assert difference.metric == "rouge_l" and difference.num_queries == 2
    assert difference.second == 1.0 and difference.difference == 0.25


def test_without_scores_nothing_was_scored(tmp_path):
    items = [CaptionItem("a", "x"), CaptionItem("b", "y")]
    captions_record({}, items, with_predictions=False, split="test").write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["queries"] == {"scored": 0, "expected": 2} and record["metrics"] == record["lines"] == {}


def test_two_metrics_of_one_name_are_refused():
    scores = {"first": CaptionScores({"x": 1.0}, {}), "second": CaptionScores({"x": 2.0}, {})}
    with pytest.raises(ValueError, match="the metric second gives x"):
        captions_record(scores, [])


class NameLength(Length):
    """Scores a caption by itself: as CLIPScore does, the words of others do not count."""

    def score(self, items):
        return CaptionScores({"clip_score": float(np.mean([len(item.caption) for item in items]))}, {})


def test_references_are_scored_as_captions_where_captions_are_not_compared_with_them():
    items = [CaptionItem(query.query_id, "x", query.reference_captions) for query in QUERIES]
    found = reference_scores([*items, CaptionItem("c", "y")], {"cider": CIDEr(), "clip_score": NameLength()})
    assert found == {"reference/clip_score": (len("a red bus in the rain") + len("two dogs on the beach")) / 2}
    assert reference_scores(items, {"cider": CIDEr()}) == reference_scores([CaptionItem("c", "y")], {}) == {}


def test_metrics_are_named_and_signatures_said_for_a_file_too(data, tmp_path):
    queries = Newsroom(data / "newsroom", SETTINGS).queries("test")
    halves = {query.query_id: " ".join(query.reference_captions[0].split()[:10]) for query in queries}
    record = evaluate_captions(data, tmp_path, halves, "metrics=[length]")
    assert "mean_words" in record["metrics"] and "cider" not in record["metrics"]
    (sentence,) = record["signatures"]
    assert sentence.startswith("Captions are much shorter than the references (10 words, the references ")
