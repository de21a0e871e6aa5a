"""The figures of a study: which rows there are, their means, and the bytes of study.csv."""

import math
from dataclasses import replace

from made_study import SEEDS, make_result

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.table import least_of, mean_and_interval, study_rows, write_csv

FIRST = (
    "metric,arm,state,seeds,queries,mean,mean low,mean high,control,control mean,difference,difference low,"
    "difference high,p value,adjusted p,smallest seen,level,raised,lowered,hypothesis,least,verdict,seed 0,seed 1\r\n"
)
GOLDEN = FIRST + (
    "recall_at_1,single,done,2,4,0.375,0.0,0.75,single,,,,,,,,,,,,,,0.25,0.5\r\n"
    "recall_at_1,joined,done,2,4,0.75,0.5,1.0,single,0.375,0.375,0.125,0.625,0.01,0.02,0.3,0.975,0.5,0.125,higher,0.05,supported,"
    "0.75,0.75\r\n"
    "recall_at_1,all,done,2,4,0.375,0.0,0.75,single,0.375,0.0,-0.25,0.25,1.0,1.0,0.35,0.95,0.125,0.125,same,0.046875,undecided,0.25,"
    "0.5\r\n"
    "recall_at_1,broken,failed,0,0,,,,single,,,,,,,,,,,lower,0.05,undecided,,\r\n"
    "recall_at_1,joined,done,2,4,0.75,0.5,1.0,all,0.375,0.375,-0.1,0.7,0.05,0.1,0.4,0.95,0.5,0.125,not_lower,0.02,supported,0.75,"
    "0.75\r\n"
)


def test_the_same_figures_give_the_same_bytes(tmp_path):
    """Every arm with its failed ones, and what a hypothesis compares with another arm; no time is among the columns."""
    rows = study_rows(make_result())
    write_csv(tmp_path / "study.csv", rows, SEEDS)
    assert (tmp_path / "study.csv").read_bytes().decode() == GOLDEN


def test_a_hypothesis_by_a_metric_that_the_table_lacks_adds_its_rows():
    rows = study_rows(make_result(metrics=()))
    assert [(row.arm, row.control) for row in rows] == [
        *((arm, "single") for arm in ("single", "joined", "all", "broken")),
        ("joined", "all"),
    ]


def test_what_an_arm_was_not_asked_is_no_failure():
    """An arm whose results are others has no rows, unless a hypothesis asks for one."""
    result = make_result()
    verdicts = [replace(verdict, comparison=None) for verdict in result.verdicts]
    result = replace(result, comparisons=[], verdicts=verdicts)
    values = {**result.values, "all": {"average_precision": result.values["all"]["recall_at_1"]}}
    states = [(row.arm, row.control, row.state) for row in study_rows(replace(result, values=values))]
    assert states == [
        ("single", "single", "done"),
        ("joined", "single", "done"),
        ("all", "single", "not measured"),
        ("broken", "single", "failed"),
        ("joined", "all", "done"),
    ]
    others = replace(result, values=values, verdicts=result.verdicts[:1])
    assert [row.arm for row in study_rows(others)] == ["single", "joined", "broken"]


def test_a_name_is_no_formula(tmp_path):
    rows = study_rows(make_result(control="=1+1"))
    write_csv(tmp_path / "study.csv", rows, SEEDS)
    assert ",'=1+1," in (tmp_path / "study.csv").read_text()


def test_a_median_is_of_ranks_and_what_was_not_found_is_far():
    ranks = MetricMeaning("count", "lower", "median")
    found = {0: {"a": 1.0, "b": 3.0, "c": 8.0}, 1: {"a": 2.0, "b": 9.0, "c": None}}
    mean, interval = mean_and_interval(found, ranks)
    assert mean == 6.0  # of 3 and 9
    assert interval is not None and interval[0] >= 1.5 and interval[1] == math.inf


def test_a_query_without_a_value_counts_for_nothing():
    mean, interval = mean_and_interval(
        {0: {"a": 1.0, "b": None, "c": 0.0}, 1: {"a": 1.0, "b": None, "c": 1.0}}, MetricMeaning()
    )
    assert mean == 0.75 and interval == (0.5, 1.0)


def test_one_value_for_each_seed_has_a_mean_and_no_interval():
    assert mean_and_interval({0: {"": 2.0}, 1: {"": 4.0}}, MetricMeaning("score")) == (3.0, None)
    mean, interval = mean_and_interval({}, MetricMeaning())
    assert math.isnan(mean) and interval is None


def test_a_relative_least_is_a_part_of_the_control():
    *_, missing, _ = verdicts = make_result().verdicts
    assert [least_of(verdict) for verdict in verdicts[:2]] == [0.05, 0.046875]
    assert least_of(missing) == 0.05
