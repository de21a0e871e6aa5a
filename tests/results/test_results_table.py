"""The one place that turns stored fractions into printed percent, as each metric says what it is."""

import math

import pytest
from rich.console import Console

from diptych.contracts.retrieval import MetricMeaning
from diptych.results.results_table import (
    aspect_group,
    aspect_label,
    format_interval,
    format_value,
    metric_rows,
    protocol_line,
    results_table,
    variants,
)

FRACTION, COUNT, SCORE = MetricMeaning("fraction"), MetricMeaning("count", "lower"), MetricMeaning("score")


def make_result(**changes):
    result = {
        "experiment": "cir_rooms",
        "data": "rooms",
        "split": "test",
        "protocol": {
            "name": "hotel_cir",
            "version": 1,
            "gallery": "all images of the split",
            "exclude_reference": True,
            "text_template": "{text}",
            "caption_joining": "first",
            "partial": None,
        },
        "checkpoint": "best.ckpt",
        "seed": 1,
        "world_size": 1,
        "queries": {"scored": 500, "expected": 500},
        "gallery": {"size": 1200, "sha256": "0123456789abcdef" * 4},
        "versions": {},
        "metrics": {
            "recall_at_1": 0.62345,
            "median_rank": 3.0,
            "recall_at_1/changes_10": 0.5,
            "recall_at_1/changes_2": 0.25,
            "text_only/recall_at_1": 0.05,
            "sum/recall_at_1": 0.4,
            "sum/recall_at_1/changes_2": 0.1,
        },
        "intervals": {"recall_at_1": [0.58, 0.66], "median_rank": [2.0, 4.0]},
    }
    return {**result, **changes}


def printed(result, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(results_table(result))
    return console.export_text()


@pytest.mark.parametrize(
    ("meaning", "value", "text"),
    [
        (FRACTION, 0.62345, "62.34"),
        (FRACTION, 1.0, "100.00"),
        (FRACTION, 0.0, "0.00"),
        (COUNT, 3.0, "3.0"),
        (SCORE, 0.12345, "0.1235"),
        (FRACTION, math.nan, "–"),
    ],
)
def test_fractions_are_shown_in_percent_and_counts_and_scores_as_they_are(meaning, value, text):
    assert format_value(meaning, value) == text


def test_intervals_have_the_unit_of_their_metric():
    assert format_interval(FRACTION, (0.58, 0.6649)) == "[58.0, 66.5]"
    assert format_interval(COUNT, (2.0, 4.5)) == "[2.0, 4.5]"
    assert format_interval(FRACTION, None) == ""
    assert format_interval(FRACTION, (math.nan, math.nan)) == ""


def test_rows_gather_baselines_and_put_aspects_last_in_natural_order():
    rows = metric_rows(make_result())
    assert [row.key for row in rows] == [
        "recall_at_1",
        "median_rank",
        "recall_at_1/changes_2",
        "recall_at_1/changes_10",
    ]
    assert {name: cell.value for name, cell in rows[0].cells.items()} == {
        "model": 0.62345,
        "text_only": 0.05,
        "sum": 0.4,
    }
    assert rows[0].cells["model"].interval == (0.58, 0.66)
    assert rows[0].cells["sum"].interval is None
    assert rows[2].cells["sum"].value == 0.1
    assert variants(rows) == ["model", "sum", "text_only"]


def test_a_null_value_is_no_value():
    (row,) = metric_rows(make_result(metrics={"map_at_10/cardinality": None}, intervals={}))
    assert math.isnan(row.cells["model"].value)


def test_several_sets_have_rows_of_their_own():
    metrics = {
        "median_rank": 3.5,
        "dress/median_rank": 3.0,
        "dress/sum/median_rank": 9.0,
        "toptee/recall_at_1/changes_2": 0.5,
    }
    rows = metric_rows(make_result(metrics=metrics, intervals={"dress/median_rank": [2.0, 4.0]}))
    assert [row.key for row in rows] == ["median_rank", "dress/median_rank", "toptee/recall_at_1/changes_2"]
    assert rows[1].cells["model"].interval == (2.0, 4.0)
    assert rows[1].cells["sum"].value == 9.0
    text = printed(make_result(data=["dress", "toptee"], metrics=metrics, protocol={"line": "a v1; b v1"}), width=150)
    assert "on dress, toptee test, protocol a v1; b v1" in text
    line = next(line for line in text.splitlines() if "dress/median_rank" in line)
    assert "(%)" not in line and " 3.0 " in line and " 9.0 " in line
    assert "toptee/recall_at_1/changes_2 (%)" in text


def test_an_aspect_named_like_nothing_else_is_kept_whole():
    (row,) = metric_rows(make_result(metrics={"map_at_10/a/b": 0.5}, intervals={}))
    assert (row.set_name, row.metric, row.aspect) == (None, "map_at_10", "a/b")


def test_a_new_metric_needs_no_entry_here():
    rows = metric_rows(
        make_result(metrics={"reciprocal_rank": 0.5, "sum/reciprocal_rank": 0.25, "reciprocal_rank/x": 0.1})
    )
    assert [row.key for row in rows] == ["reciprocal_rank", "reciprocal_rank/x"]
    assert rows[0].cells["sum"].value == 0.25
    assert format_value(rows[0].meaning, rows[0].cells["model"].value) == "50.00"


def test_a_key_without_a_metric_is_refused():
    with pytest.raises(ValueError, match="'sum/'"):
        metric_rows(make_result(metrics={"sum/": 0.5}))


def test_aspects_in_words():
    assert aspect_label("changes_1") == "1 change"
    assert aspect_label("changes_12") == "12 changes"
    assert aspect_label("direct_addressing") == "direct addressing"
    assert aspect_label("changed_colour") == "colour"
    assert aspect_label("shortcut_free") == "neither" and aspect_group("shortcut_free") == "what solves it alone"
    assert aspect_label("shortcut_keys") == "shortcut keys" and aspect_group("shortcut_keys") == "aspect"
    names = ("changes_2", "changed_size", "compare_change", "changes_of_mind", "changed_")
    groups = [aspect_group(name) for name in names]
    assert groups == ["number of changes", "kind of change", "aspect", "aspect", "aspect"]


def test_aspects_come_by_number_then_by_kind_with_their_queries():
    names = ("changed_size", "changes_10", "changed_colour", "negation", "changes_2")
    metrics = {"recall_at_1": 0.5, **{f"recall_at_1/{name}": 0.5 for name in names}}
    result = make_result(metrics=metrics, intervals={}, aspect_queries={"changed_size": 1234, "changes_2": 17})
    assert [row.aspect for row in metric_rows(result)] == [
        None,
        "changes_2",
        "changes_10",
        "changed_colour",
        "changed_size",
        "negation",
    ]
    lines = {line.split()[1]: line for line in printed(result, width=120).splitlines() if "recall_at_1" in line}
    assert "1,234" in lines["recall_at_1/changed_size"] and " 17 " in lines["recall_at_1/changes_2"]
    assert "queries" in printed(result, width=120) and "17" not in lines["recall_at_1"]


def test_a_partial_protocol_is_marked():
    protocol = {**make_result()["protocol"], "partial": "548/550"}
    assert protocol_line(make_result(protocol=protocol)) == "hotel_cir v1 @partial(548/550)"
    assert "@partial(548/550)" in printed(make_result(protocol=protocol), width=120)


def test_the_table_names_protocol_gallery_and_coverage():
    text = printed(make_result(), width=150)
    for part in ("cir_rooms on rooms test", "hotel_cir v1", "1,200 images", "0123456789ab", "500/500"):
        assert part in text
    assert "0123456789abc" not in text


def test_a_narrow_terminal_cuts_no_digits():
    metrics = {f"{name}map_at_10/statement_with_conjunction": 1.0 for name in ("", "sum/", "image_only/", "text_only/")}
    text = printed(
        make_result(metrics=metrics, intervals={"map_at_10/statement_with_conjunction": [0.995, 1.0]}), width=80
    )
    assert text.count("100.00") == 4
    assert "[99.5, 100.0]" in text
    assert "…" not in text


@pytest.mark.parametrize("sets", ["", "dress/"])
def test_a_metric_says_itself_how_it_is_shown(sets):
    metrics = {f"{sets}{key}": value for key, value in (("mean_rank", 12.25), ("sum/mean_rank", 40.0))}
    metrics |= {f"{sets}mean_rank/changes_2": 7.0, f"{sets}recall_at_1": 0.5, f"{sets}margin": 0.125}
    about = {
        "mean_rank": {"unit": "count", "better": "lower"},
        "recall_at_1": {"unit": "fraction", "better": "higher"},
        "margin": {"unit": "score", "better": "higher"},
    }
    result = make_result(metrics=metrics, about=about, intervals={f"{sets}mean_rank": [10.0, 14.5]})
    rows = {row.key: row for row in metric_rows(result)}
    assert list(rows) == [f"{sets}{key}" for key in ("mean_rank", "recall_at_1", "margin", "mean_rank/changes_2")]
    assert rows[f"{sets}mean_rank"].cells["sum"].value == 40.0
    assert rows[f"{sets}mean_rank"].meaning == rows[f"{sets}mean_rank/changes_2"].meaning == COUNT
    text = printed(result, width=150)
    assert "12.2 " in text and "40.0" in text and "[10.0, 14.5]" in text and "50.00" in text and "0.1250" in text
    assert "1225" not in text and "mean_rank (%)" not in text and "recall_at_1 (%)" in text


def test_captions_have_a_column_for_each_kind():
    result = {
        "experiment": "fuser",
        "data": ["newsroom"],
        "split": "val",
        "queries": {"scored": 3, "expected": 4},
        "lines": {"cider": "N=3"},
        "metrics": {"cider": 3.35, "entity_f1": 0.745, "untuned/cider": 0.038, "untuned/entity_f1": None},
    }
    rows = metric_rows(result)
    assert [row.key for row in rows] == ["cider", "entity_f1"] and variants(rows) == ["model", "untuned"]
    text = printed(result, width=100)
    assert "fuser on newsroom val" in text and "scored 3/4" in text and "interval" not in text
    assert "3.3500" in text and "0.0380" in text and "entity_f1 (%)" in text and "74.50" in text and "–" in text
