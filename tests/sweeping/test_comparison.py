"""Two runs side by side: which metrics are compared, which run is called better, and what is refused."""

from __future__ import annotations

import math
import shlex

import pytest

from diptych.config.override_words import override
from diptych.contracts.retrieval import MetricMeaning
from diptych.sweeping.comparison import better_run, compare_runs, print_comparison
from run_folders import captions_result, result, status, write_run


def lines(hits, **others):
    return [
        {"query_id": f"q{row}", "recall_at_1": hit} | {name: values[row] for name, values in others.items()}
        for row, hit in enumerate(hits)
    ]


@pytest.fixture
def pair(tmp_path):
    """Two runs on the same queries; `write` changes one of them."""

    def write(name, hits, scores=None, **changes):
        return write_run(tmp_path / name, status(), result(hits, **changes), scores or lines(hits))

    return write("0", [1, 0, 1, 0]), write("1", [1, 1, 1, 0]), write


def test_two_runs_are_compared_in_every_metric_that_is_a_mean(pair, capsys):
    first, second, write = pair
    extra = {"metrics": {"recall_at_1": 0.5, "recall_at_1/changes_1": 1.0, "median_rank": 2.5, "corpus": 0.1}}
    scores = lines([1, 0, 1, 0], median_rank=[1, 3, 2, 5], corpus=[0.3] * 4)
    for row, line in enumerate(scores):
        line |= {"recall_at_1/changes_1": line["recall_at_1"]} if row % 2 == 0 else {}
    write("0", [1, 0, 1, 0], scores, **extra)
    scores = [line | {"recall_at_1": 1, "median_rank": 1} for line in reversed(scores)]  # matched by id, not by place
    write("1", [1, 0, 1, 0], scores, metrics={**extra["metrics"], "recall_at_1": 1.0, "median_rank": 1.0})
    differences, left_out, runs = compare_runs(first, second)
    found = {row.metric: row for row in differences}
    assert left_out == {"corpus": "not a mean over the queries"}
    assert (found["recall_at_1"].first, found["recall_at_1"].second, found["recall_at_1"].difference) == (0.5, 1.0, 0.5)
    assert found["recall_at_1"].num_queries == 4 and found["recall_at_1/changes_1"].num_queries == 2
    assert found["recall_at_1/changes_1"].p_value == 1.0 and found["median_rank"].difference == -1.5
    print_comparison(differences, left_out, runs)
    printed = capsys.readouterr().out
    assert "+50.00" in printed and "[+0.00, +100.00]" in printed and "not a mean over the queries: corpus" in printed


def test_a_mean_over_sets_weighs_them_equally(pair):
    first, second, write = pair
    for name, hits in (("0", [0, 0, 1, 0]), ("1", [1, 0, 1, 0])):
        scores = [line | {"set": "dress" if row < 1 else "shirt"} for row, line in enumerate(lines(hits))]
        shirt = sum(hits[1:]) / 3
        means = {"recall_at_1": (hits[0] + shirt) / 2, "dress/recall_at_1": hits[0], "shirt/recall_at_1": shirt}
        write(name, hits, scores, metrics=means)
    found = {row.metric: row for row in compare_runs(first, second)[0]}
    assert found["recall_at_1"].difference == pytest.approx(0.5) and found["recall_at_1"].num_queries == 4
    assert found["dress/recall_at_1"].difference == 1.0 and found["dress/recall_at_1"].num_queries == 1
    assert found["shirt/recall_at_1"].difference == 0.0


def test_captions_with_null_are_compared(tmp_path):
    for name, cider in (("a", [0.1, 0.2, 0.3, 0.4]), ("b", [0.2, 0.2, 0.5, 0.4])):
        scores = [
            {"query_id": f"q{row}", "cider": value, "entity_precision": None if row == int(name == "b") else 0.5}
            for row, value in enumerate(cider)
        ]
        record = captions_result(cider=sum(cider) / 4, entity_precision=0.5, clip_score=None)
        write_run(tmp_path / name, None, record, scores)
    differences, left_out, _ = compare_runs(tmp_path / "a", tmp_path / "b")
    assert [row.metric for row in differences] == ["cider"] and math.isclose(differences[0].difference, 0.075)
    assert left_out == {"entity_precision": "the two runs have values for different queries"}


def test_a_metric_of_ones_own_is_compared_in_its_own_unit_and_direction(pair, capsys):
    """`mean_rank` is better where it is lower, and `flips` is a median: the files say so, whatever the names are."""
    first, second, write = pair
    about = {
        "mean_rank": {"unit": "count", "better": "lower"},
        "flips": {"unit": "score", "better": "higher", "reduction": "median"},
        "words": {"unit": "count", "better": None},
    }
    for name, ranks in (("0", [4, 6, 8, 22] * 2), ("1", [1, 2, 3, 14] * 2)):
        scores = lines([1, 0, 1, 0] * 2, mean_rank=ranks, flips=ranks, words=ranks)
        metrics = {"mean_rank": sum(ranks) / 8, "flips": sum(ranks[1:3]) / 2, "words": sum(ranks) / 8}
        write(name, [1, 0, 1, 0] * 2, scores, metrics=metrics, about=about)
    differences, left_out, runs = compare_runs(first, second)
    found = {row.metric: row for row in differences}
    assert left_out == {} and found["flips"].difference == 2.5 - 7 and found["mean_rank"].difference == -5
    better = {name: better_run(row, runs[0].meaning(name)) for name, row in found.items()}
    assert better == {"mean_rank": 1, "flips": 0, "words": None}
    assert better_run(found["mean_rank"], MetricMeaning("count", "higher")) == 0
    print_comparison(differences, left_out, runs)
    row = next(line for line in capsys.readouterr().out.splitlines() if "mean_rank" in line)
    assert "%" not in row and "10.0" in row and "5.0" in row and "-5.0" in row and row.split()[-2:] == ["run", "2"]


def test_of_few_queries_no_run_is_better_whatever_the_interval_says(pair):
    first, second, write = pair
    for name, hits in (("0", [0] * 4), ("1", [1] * 4)):
        write(name, hits, metrics={"recall_at_1": float(hits[0])})
    ((row,), _, runs) = compare_runs(first, second)
    assert row.interval == (1.0, 1.0) and row.p_value == 1 / 8
    assert better_run(row, runs[0].meaning("recall_at_1")) is None


def test_a_target_that_was_not_found_has_no_rank(pair):
    """Null is no query that is left out, also of a metric whose name says nothing of ranks."""
    first, second, write = pair
    for name in "01":
        scores = lines([1, 0, 1, 0], mean_rank=[1, None, 2, 3])
        write(name, [1, 0, 1, 0], scores, metrics={"recall_at_1": 0.5, "mean_rank": 2.0})
    assert compare_runs(first, second)[1] == {"mean_rank": "targets that were not found have no rank"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"gallery": "b" * 64}, "gallery: .*bbbb"),
        ({"split": "test"}, "split: 'val' and 'test'"),
        (
            {"protocol": {"line": "rooms_val v2", "gallery": "all images"}},
            "protocol: 'rooms_val v1' and 'rooms_val v2'",
        ),
        (
            {"protocol": {"line": "rooms_val v1", "gallery": "all images", "exclude_reference": True}},
            "reference image: 'stays in the ranking' and 'left out",
        ),
    ],
)
def test_unlike_measures_are_refused(pair, changes, named):
    first, second, write = pair
    write("1", [1, 1, 1, 0], **changes)
    with pytest.raises(ValueError, match=f"do not compare: .*{named}"):
        compare_runs(first, second)


def test_other_queries_and_missing_or_damaged_values_are_refused(pair):
    first, second, write = pair
    write("1", [1, 1, 1, 0], [line | {"query_id": f"x{line['query_id']}"} for line in lines([1, 1, 1, 0])])
    with pytest.raises(ValueError, match="4 queries of .*0 were not scored in .*1: 'q0', 'q1', 'q2', ..."):
        compare_runs(first, second)
    (second / "scores.jsonl").write_text('{"query_id": "q0", "recall_at_1": 1}\nno\n')
    with pytest.raises(ValueError, match=r"scores.jsonl:2: not JSON"):
        compare_runs(first, second)
    write("1", [1, 1, 1, 0], lines([1, 1, 1, 0]) * 2)
    with pytest.raises(ValueError, match="scores.jsonl:5: query 'q0' occurs twice"):
        compare_runs(first, second)
    (second / "scores.jsonl").unlink()
    with pytest.raises(ValueError, match="scores.jsonl is not there.*evaluate.py ckpt=best.ckpt split=val"):
        compare_runs(first, second)
    write("1", [1, 1, 1, 0], checkpoint="a b'; $(x).ckpt")
    (second / "scores.jsonl").unlink()
    with pytest.raises(ValueError, match="is not there") as caught:
        compare_runs(first, second)
    _, _, command = str(caught.value).partition("new folder: ")
    words = ["python", "evaluate.py", override("ckpt", "a b'; $(x).ckpt"), "split=val"]
    assert shlex.split(command) == words
    (second / "metrics.json").unlink()
    with pytest.raises(ValueError, match="no metrics.json yet, the run is: done"):
        compare_runs(first, second)
    with pytest.raises(ValueError, match="is no run itself"):
        compare_runs(first.parent, first)
