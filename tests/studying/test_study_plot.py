"""The picture of a study, drawn without a display."""

from dataclasses import replace

import pytest
from made_study import make_result
from matplotlib.patches import Rectangle
from PIL import Image

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.plot import LOOKS, write_plot
from diptych.studying.table import study_rows


def write(folder, result):
    return write_plot(folder, result, study_rows(result))


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def test_differences_lie_in_their_bands_with_the_looks_of_their_verdicts(tmp_path, drawn):
    path = write(tmp_path, make_result())
    assert Image.open(path).width == 900
    means, differences = drawn[0].axes
    assert names(means) == ["single", "joined", "all", "broken (no values)"]
    assert names(differences) == ["single (control)", "joined", "all", "broken", "joined\nto all"]
    assert means.get_ylim() == differences.get_ylim(), "an arm stands at the same height in both"
    bands = [patch for patch in differences.patches if isinstance(patch, Rectangle)]
    assert [(band.get_x(), band.get_width()) for band in bands] == [
        pytest.approx(two) for two in ((-5, 10), (-4.6875, 9.375), (-5, 10), (-2, 4))
    ]
    points = {
        line.get_ydata()[0]: (line.get_xdata()[0], line.get_color(), line.get_marker())
        for line in differences.lines
        if line.get_marker() != "None"
    }
    assert points == {
        1: (37.5, *LOOKS["supported"]),
        2: (0.0, *LOOKS["undecided"]),
        4: (37.5, *LOOKS["supported"]),
    }
    (dots,) = (line for line in means.lines if list(line.get_xdata()) == [25.0, 50.0] and line.get_ydata()[0] < 0.5)
    assert len(set(dots.get_ydata())) == 2, "equal seeds lie beside each other"


def test_the_same_figures_give_the_same_picture(tmp_path):
    first, second = (write(tmp_path / name, make_result()).read_bytes() for name in "ab")
    assert first == second


def test_arms_on_a_dial_make_a_curve(tmp_path, drawn):
    dial = {"all": 0.4, "single": 0.0, "joined": 0.2, "broken": 0.8}
    write(tmp_path, make_result(dial=dial, dial_name="share of $untrue$ sentences"))
    curve, _ = drawn[0].axes
    (line,) = (line for line in curve.lines if len(line.get_xdata()) == 3)
    assert list(line.get_xdata()) == [0.0, 0.2, 0.4] and list(line.get_ydata()) == [37.5, 75.0, 37.5]
    assert curve.get_xlabel() == "share of $untrue$ sentences" and curve.get_xscale() == "linear"
    write(tmp_path, make_result(dial={"single": 1, "joined": 4, "all": 16}, dial_name="rank"))
    assert drawn[1].axes[0].get_xscale() == "log"


def test_two_curves_on_one_dial_are_told_apart_by_what_stands_before_the_number(tmp_path, drawn):
    result = make_result()
    values = dict.fromkeys(("single", "kept_20", "out_20", "kept_40", "out_40"), result.values["single"])
    arms = tuple(replace(result.study.arms[0], name=name) for name in values)
    dial = {"single": 0.0, "kept_20": 0.2, "out_20": 0.2, "kept_40": 0.4, "out_40": 0.4}
    write(tmp_path, replace(make_result(dial=dial, arms=arms), values=values))
    curve = drawn[0].axes[0]
    lines = {line.get_label(): list(line.get_xdata()) for line in curve.lines if not line.get_label().startswith("_")}
    assert lines == {"kept": [0.0, 0.2, 0.4], "out": [0.0, 0.2, 0.4]}


def test_a_metric_may_be_the_dial_of_the_others(tmp_path, drawn):
    """What is missed against what is invented: a curve for each family of arms, each seed at its own place."""
    result = make_result(metrics=("missed", "recall_at_1"), dial_name="missed")
    families = {"single": (0.5, "single"), "joined_2": (0.25, "joined"), "joined_1": (0.75, "all")}
    values = {
        arm: {"missed": {0: {"": missed}, 1: {"": missed - 0.25}}} | result.values[like]
        for arm, (missed, like) in families.items()
    }
    arms = tuple(replace(result.study.arms[0], name=name) for name in values)
    study = replace(result.study, arms=arms)
    write(tmp_path, replace(result, study=study, values=values, meanings={"missed": MetricMeaning(better="lower")}))
    _, _, curve, _ = drawn[0].axes
    lines = {line.get_label(): line for line in curve.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["joined", "single"] and curve.get_xlabel() == "missed (%)"
    assert [list(xy) for xy in lines["joined"].get_data()] == [[12.5, 62.5], [75.0, 37.5]]
    dots = [line for line in curve.lines if line.get_marker() == "o"]
    assert [25.0, 0.0] in [list(line.get_xdata()) for line in dots]


def test_each_metric_has_a_strip_in_its_own_unit(tmp_path, drawn):
    result = make_result(metrics=("recall_at_1", "claims"))
    values = {arm: of | {"claims": {0: {"": 2.0}, 1: {"": 3.0}}} for arm, of in result.values.items()}
    write(tmp_path, replace(result, values=values, meanings=result.meanings | {"claims": MetricMeaning("count")}))
    titles = [ax.get_title("left") for ax in drawn[0].axes]
    assert titles == ["recall_at_1 (%)", "", "claims", ""]


def test_without_values_there_is_no_picture(tmp_path):
    assert write(tmp_path, replace(make_result(), values={})) is None and not list(tmp_path.iterdir())
