"""Bootstrap intervals: against the binomial interval, against a plain loop, and equal for equal seeds."""

import math
from dataclasses import replace

import pytest
import torch

from diptych.contracts.retrieval import EvaluationProtocol, MetricValues
from diptych.metrics.retrieval import bootstrap
from diptych.metrics.retrieval.aggregate import summarise, with_aspects
from diptych.metrics.retrieval.bootstrap import interval_of, intervals

PROTOCOL = EvaluationProtocol("plain", 1, "all", False, "{}", "none", recall_ks=(1, 5))


def hits(num_queries: int, num_hits: int) -> MetricValues:
    return MetricValues((torch.arange(num_queries) < num_hits).double())


def test_agrees_with_the_binomial_interval():
    low, high = intervals({"recall_at_1": hits(1000, 300)}, PROTOCOL, num_resamples=4000)["recall_at_1"]
    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert low == pytest.approx(0.3 - half, abs=0.003)
    assert high == pytest.approx(0.3 + half, abs=0.003)


def test_equal_seeds_give_equal_intervals_and_others_do_not():
    values = {"recall_at_1": MetricValues(torch.rand(200, generator=torch.Generator().manual_seed(0)).double())}
    first = intervals(values, PROTOCOL, seed=3)
    torch.manual_seed(99)
    assert intervals(values, PROTOCOL, seed=3) == first
    assert intervals(values, PROTOCOL, seed=4) != first


def test_every_summarised_number_has_an_interval_around_it():
    generator = torch.Generator().manual_seed(1)
    ranks = torch.randint(1, 9, (150,), generator=generator).double()
    values = {
        "recall_at_1": MetricValues((ranks <= 1).double()),
        "recall_at_5": MetricValues((ranks <= 5).double()),
        "median_rank": MetricValues(ranks, "median"),
    }
    aspects = [("addition",) if number % 3 else ("negation", "addition") for number in range(150)]
    protocol = replace(
        PROTOCOL, average_of=("recall_at_1", "recall_at_5"), aspect_metrics=("recall_at_5", "median_rank")
    )
    expanded = with_aspects(values, aspects, protocol)
    numbers, bounds = summarise(expanded, protocol), intervals(expanded, protocol)
    assert set(numbers) == set(bounds) >= {"average", "recall_at_5/negation", "median_rank/addition"}
    assert all(bounds[name][0] <= numbers[name] <= bounds[name][1] for name in numbers)
    assert all(bounds[name][0] < bounds[name][1] for name in ("recall_at_1", "average", "recall_at_5/negation"))


def test_one_set_of_draws_serves_all_metrics():
    """The average of two opposite metrics is constant only when both see the same queries."""
    first = hits(100, 40)
    values = {"recall_at_1": first, "recall_at_5": MetricValues(1 - first.values)}
    bounds = intervals(values, replace(PROTOCOL, average_of=("recall_at_1", "recall_at_5")))
    assert bounds["average"] == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("reduction", ["mean", "median"])
def test_equals_summarising_each_resample(reduction):
    generator = torch.Generator().manual_seed(2)
    values = torch.randint(1, 30, (41,), generator=generator).double()
    values[[3, 8]] = torch.nan
    values[5] = torch.inf if reduction == "median" else 7
    [counts] = bootstrap.resampled_counts(41, 25, seed=0)
    reduce = bootstrap.weighted_median if reduction == "median" else bootstrap._weighted_mean
    expected = [
        summarise({"m": MetricValues(values.repeat_interleave(row.long()), reduction)}, PROTOCOL)["m"] for row in counts
    ]
    torch.testing.assert_close(reduce(values, counts), torch.tensor(expected, dtype=torch.float64))


def test_size_of_chunks_gives_whole_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 70)
    chunks = list(bootstrap.resampled_counts(10, 25, seed=0))
    assert [len(chunk) for chunk in chunks] == [7, 7, 7, 4]
    assert (torch.cat(chunks).sum(1) == 10).all()


@pytest.mark.parametrize(("successes", "expected"), [(0, (0.0, 0.4345)), (5, (0.5655, 1.0))])
def test_a_share_of_which_every_draw_is_alike_has_wilsons_interval(successes, expected):
    """z^2 / (n + z^2) = 3.8415 / 8.8415 for none of 5 (Wilson 1927)."""
    bounds = intervals({"recall_at_1": hits(5, successes)}, PROTOCOL)["recall_at_1"]
    assert bounds == pytest.approx(expected, abs=1e-4)
    assert intervals({"map_at_5": replace(hits(5, 0), values=hits(5, 0).values + 0.5)}, PROTOCOL)["map_at_5"] == (
        0.5,
        0.5,
    )


def test_infinite_median_is_an_honest_bound():
    ranks = MetricValues(torch.tensor([1.0, 2, torch.inf, torch.inf]), "median")
    low, high = intervals({"median_rank": ranks}, PROTOCOL)["median_rank"]
    assert (low, high) == (1.0, math.inf)


def test_nothing_to_resample_and_wrong_arguments():
    unknown = {"recall_at_1": MetricValues(torch.full((3,), torch.nan))}
    assert intervals(with_aspects(unknown, [()] * 3, PROTOCOL), PROTOCOL) == {}
    for wrong in ({"level": 1.0}, {"level": 0.0}, {"num_resamples": 0}):
        with pytest.raises(ValueError, match="level must lie between 0 and 1"):
            intervals({"recall_at_1": hits(3, 1)}, PROTOCOL, **wrong)


def test_a_number_made_of_means_has_the_interval_of_its_draws():
    values = hits(300, 90).values
    same = interval_of(lambda mean: mean, values)
    assert same == intervals({"recall_at_1": MetricValues(values)}, PROTOCOL)["recall_at_1"]
    assert interval_of(lambda one, other: one / other, values, values) == (1, 1)
    half = torch.where(torch.arange(300) % 2 == 0, values, torch.nan)  # its mean is over its own queries alone
    assert interval_of(lambda one, other: one - other, half, values.masked_fill(half.isnan(), torch.nan)) == (0, 0)
    assert interval_of(lambda one, other: one / other, values, 0 * values) is None
