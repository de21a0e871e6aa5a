"""Comparisons and verdicts of small studies: their words, their sentences, and what cannot be judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.hypotheses import Comparison, Hypothesis
from diptych.studying.judgement import judge
from diptych.studying.wording import verdict_on

SHARE = MetricMeaning("fraction")


def study(shares, num_seeds=3, num_queries=200, metric="recall_at_1"):
    """Arms with these shares of found targets: each seed finds those of the first queries, but for one."""
    found = {arm: np.arange(num_queries) < round(share * num_queries) for arm, share in shares.items()}
    return {
        arm: {
            metric: {
                seed: {f"q{query}": float(hit and query != seed) for query, hit in enumerate(hits)}
                for seed in range(num_seeds)
            }
        }
        for arm, hits in found.items()
    }


def sentence(values, hypothesis, **words):
    _, (verdict,) = judge(values, "single", [hypothesis.metric], [hypothesis], **words)
    return verdict.sentence


def claim(direction="higher", least=0.05, metric="recall_at_1", arm="several", **words):
    return Hypothesis(metric, arm, "single", direction, least, **words)


def test_a_verdict_is_a_sentence_with_its_figures():
    values = study({"single": 0.2, "several": 0.3, "alike": 0.2})
    comparisons, verdicts = judge(values, "single", ["recall_at_1"], [claim(), claim("same", arm="alike")])
    assert [(found.metric, found.arm, found.control) for found in comparisons] == [
        ("recall_at_1", "several", "single"),
        ("recall_at_1", "alike", "single"),
    ]
    assert [verdict.comparison for verdict in verdicts] == comparisons
    found = comparisons[0]
    assert (found.control_mean, found.arm_mean, found.difference) == pytest.approx((0.195, 0.295, 0.1))
    assert (found.num_seeds, found.num_queries, found.level) == (3, 200, 0.975)
    assert verdicts[0].word == "supported"
    assert verdicts[0].sentence == (
        "several against single: recall_at_1 (%) 19.50 -> 29.50, +10.00 [+5.20, +14.80], adjusted p < 0.001: supported "
        "(at least 5.00 more was asked)"
    )
    assert verdicts[1].sentence == (
        "alike against single: recall_at_1 (%) 19.50 -> 19.50, +0.00 [+0.00, +0.00], adjusted p 1.000: supported "
        "(a difference within 5.00 was asked)"
    )


@pytest.mark.parametrize(
    ("direction", "difference", "interval", "adjusted_p", "word"),
    [
        ("higher", 0.06, (0.01, 0.11), 0.01, "supported"),
        ("higher", 0.04, (0.01, 0.07), 0.01, "undecided"),  # something, but less than was asked
        ("higher", 0.06, (-0.01, 0.13), 0.2, "undecided"),
        ("higher", 0.01, (-0.02, 0.04), 0.6, "refuted"),
        ("higher", -0.09, (-0.13, -0.05), 0.001, "refuted"),
        ("lower", -0.06, (-0.11, -0.01), 0.01, "supported"),
        ("lower", 0.06, (0.01, 0.11), 0.01, "refuted"),
        ("lower", -0.06, (-0.13, 0.01), 0.2, "undecided"),
        ("same", 0.01, (-0.02, 0.04), 0.6, "supported"),
        ("same", 0.01, (-0.04, 0.06), 0.8, "undecided"),
        ("same", 0.09, (0.06, 0.12), 0.001, "refuted"),
        ("same", -0.09, (-0.12, -0.06), 0.001, "refuted"),
        ("not_lower", -0.01, (-0.04, 0.02), 0.6, "supported"),
        ("not_lower", -0.02, (-0.07, 0.03), 0.6, "undecided"),
        ("not_lower", -0.09, (-0.12, -0.06), 0.001, "refuted"),
        ("not_higher", 0.01, (-0.02, 0.04), 0.6, "supported"),
        ("not_higher", 0.09, (0.06, 0.12), 0.001, "refuted"),
    ],
)
def test_each_direction_has_its_verdicts(direction, difference, interval, adjusted_p, word):
    numbers = 0.2 + difference, 0.2, difference, interval, adjusted_p, adjusted_p, 0.03, 3, 200, 0.95
    found = Comparison("recall_at_1", "several", "single", *numbers)
    verdict = verdict_on(claim(direction), found, "", SHARE)
    assert verdict.word == word and f": {word} (" in verdict.sentence
    assert ("3.00 is the smallest difference that could be seen" in verdict.sentence) == (word == "undecided")
    part = claim(direction, 0.25, relative=True)  # of the control's .2
    assert verdict_on(part, found, "", SHARE).word == word


def test_intervals_leave_out_0_where_the_adjusted_p_is_small_and_p_values_are_adjusted_over_the_table():
    rng = np.random.default_rng(0)
    for number in range(40):
        arms = {name: 0.3 + 0.02 * rng.random() * place for place, name in enumerate(("single", "a", "b", "c"))}
        values = study(arms, num_seeds=1 + number % 3)
        comparisons, _ = judge(values, "single", ["recall_at_1"], [])
        for found in comparisons:
            low, high = found.interval
            assert (low > 0 or high < 0) == (found.adjusted_p < 0.05)
            assert found.p_value <= found.adjusted_p <= min(1, 3 * found.p_value) + 1e-12 or found.adjusted_p == max(
                other.adjusted_p for other in comparisons if other.p_value <= found.p_value
            )


def test_what_only_a_hypothesis_compares_is_tested_with_the_table():
    values = study({"single": 0.2, "a": 0.2, "b": 0.4})
    comparisons, (verdict,) = judge(
        values, "single", ["recall_at_1"], [Hypothesis("recall_at_1", "b", "a", "higher", 0)]
    )
    assert [(found.arm, found.control) for found in comparisons] == [("a", "single"), ("b", "single"), ("b", "a")]
    assert verdict.comparison is comparisons[2] and verdict.word == "supported"
    assert comparisons[2].level == pytest.approx(1 - 0.05 / 3) or comparisons[2].level == pytest.approx(1 - 0.05 / 2)


def test_one_seed_is_judged_over_queries_and_one_value_a_seed_over_seeds():
    assert sentence(study({"single": 0.2, "several": 0.4}, num_seeds=1), claim()).endswith(
        "supported (at least 5.00 more was asked; over queries only, seeds were not varied)"
    )
    bare = {
        arm: {"cost": {seed: {"": level + seed / 10} for seed in range(3)}}
        for arm, level in (("single", 1), ("several", 3))
    }
    for seed, change in enumerate((0.02, -0.01, 0.01)):
        bare["several"]["cost"][seed][""] += change
    told = sentence(bare, claim(metric="cost", least=1.0), meanings={"cost": MetricMeaning("count", "lower")})
    assert told.startswith("several against single: cost 1.1 -> 3.1, +2.0 [+2.0, +2.0], adjusted p < 0.001: supported")
    assert told.endswith("(at least 1.0 more was asked; over seeds only)")


def test_a_median_of_ranks_is_one():
    ranks = {"single": (9.0, 9, 1, 40, 7, 2, 8, 8), "several": (3.0, 4, 1, 5, 2, 1, 2, 2)}
    values = {
        arm: {"median_rank": {seed: {str(place): rank for place, rank in enumerate(of)} for seed in range(2)}}
        for arm, of in ranks.items()
    }
    (found,), _ = judge(values, "single", ["median_rank"], [])
    assert (found.control_mean, found.arm_mean) == (8.0, 2.0)
    values["several"]["median_rank"][1]["3"] = None  # not found
    assert "several has targets that were not found and have no rank" in sentence(
        values, claim("lower", 1, "median_rank")
    )


def test_queries_to_which_a_metric_does_not_apply_count_for_nothing():
    values = study({"single": 0.2, "several": 0.4})
    expected, _ = judge(values, "single", ["recall_at_1"], [])
    for place, of_arm in enumerate(values.values()):
        for of_seed in of_arm["recall_at_1"].values():
            of_seed |= {"none": None if place else math.nan}
    assert judge(values, "single", ["recall_at_1"], [])[0] == expected


def spoil_nothing(values):
    del values["several"]


def spoil_control(values):
    del values["single"]


def spoil_metric(values):
    values["several"] = {"other": values["several"]["recall_at_1"]}


def spoil_seed(values):
    del values["several"]["recall_at_1"][2]


def spoil_queries(values):
    values["several"]["recall_at_1"] = {seed: {"new": 1.0, "q1": 0.0} for seed in range(3)}


def spoil_one_seed_of_queries(values):
    values["several"]["recall_at_1"][1]["q7"] = None


def spoil_all(values):
    values["several"]["recall_at_1"] = {seed: {"q1": None} for seed in range(3)}


def spoil_all_but_one(values):
    values["several"]["recall_at_1"] = {seed: {"q1": 1.0} for seed in range(3)}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_nothing, "several failed and has no results"),
        (spoil_control, "single failed and has no results"),
        (spoil_metric, "several has no recall_at_1"),
        (spoil_seed, "seeds differ: several with 0, 1 and single with 0, 1, 2"),
        (spoil_queries, "several and single have values for different queries"),
        (spoil_one_seed_of_queries, "several has values of recall_at_1 for different queries in different seeds"),
        (spoil_all, "several has no value of recall_at_1"),
        (spoil_all_but_one, "several has values of recall_at_1 for one query alone"),
    ],
)
def test_what_cannot_be_compared_is_undecided_and_says_why(spoil, reason):
    values = study({"single": 0.2, "several": 0.4, "third": 0.4})
    spoil(values)
    comparisons, (verdict, third) = judge(values, "single", ["recall_at_1"], [claim(), claim(arm="third")])
    assert (verdict.word, verdict.comparison) == ("undecided", None)
    assert verdict.sentence == f"several against single: recall_at_1 (%): undecided, since {reason}"
    assert third.word == ("undecided" if spoil is spoil_control else "supported")
    assert len(comparisons) == (0 if spoil is spoil_control else 1)


@pytest.mark.parametrize(("num_seeds", "why"), [(1, "one seed was run"), (3, "all seeds gave the same")])
def test_where_nothing_was_varied_there_is_nothing_to_judge_with(num_seeds, why):
    values = {
        arm: {"cost": {seed: {"": level} for seed in range(num_seeds)}}
        for arm, level in (("single", 1), ("several", 2))
    }
    comparisons, (verdict,) = judge(values, "single", ["cost"], [claim(metric="cost")])
    assert comparisons == [Comparison("cost", "several", "single", 2, 1, 1, None, None, None, None, num_seeds, 0, None)]
    assert verdict.word == "undecided" and verdict.sentence.endswith(f"since there are no values per query and {why}")


def test_a_part_of_nothing_is_undecided():
    told = sentence(study({"single": 0.0, "several": 0.4}), claim(relative=True))
    assert told.endswith("undecided, since least is a part of the control's mean, which is 0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"direction": "better"}, "direction of a hypothesis must be one of higher, lower, same"),
        ({"least": -0.1}, "least of a hypothesis must be a number of 0 or more, in recall_at_1: -0.1"),
        ({"direction": "same", "least": 0}, "above 0 where it says same"),
        ({"arm": "single"}, "must be two: both are 'single'"),
    ],
)
def test_a_hypothesis_that_cannot_be_judged_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        claim(**words)
