import pytest

from diptych.contracts.retrieval import MetricMeaning
from diptych.studying.derived import Derived, with_derived

SEEN, UNSEEN, OTHER = "seen/recall_at_1", "unseen/recall_at_1", "other/recall_at_1"
VALUES = {
    SEEN: {"seen/q": 1.0, "seen/r": 1.0, "seen/s": 0.0},
    UNSEEN: {"unseen/r": 0.0, "unseen/q": 1.0, "unseen/s": 0.0},
    OTHER: {"other/q": 0.0, "other/r": 0.0, "other/s": None},
}


@pytest.mark.parametrize(
    ("take", "of_query"),
    [("mean", (2 / 3, 1 / 3, None)), ("difference", (0.5, 1.0, None)), ("range", (1.0, 1.0, None))],
)
def test_each_query_has_what_is_made_of_its_values(take, of_query):
    found = with_derived(VALUES, {"made": Derived(take, (SEEN, UNSEEN, OTHER))})
    assert found["made"] == pytest.approx(dict(zip(VALUES[SEEN], of_query, strict=True)))
    assert {name: found[name] for name in VALUES} == VALUES


def test_one_whose_parts_are_missing_is_not_made():
    assert with_derived(VALUES, {"none": Derived("range", (SEEN, "absent"))}) == VALUES


def test_values_without_queries_are_made_something_of_too():
    assert with_derived({"a": {"": 3.0}, "b": {"": 1.0}}, {"c": Derived("difference", ("a", "b"))})["c"] == {"": 2.0}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="take must be one of mean, difference, range: 'sum'"):
        Derived("sum", (SEEN, UNSEEN))
    with pytest.raises(ValueError, match="name two metrics or more, found seen/recall_at_1"):
        Derived("mean", (SEEN,))
    gap = Derived("difference", (SEEN, UNSEEN))
    with pytest.raises(ValueError, match="seen/recall_at_1 and unseen/recall_at_1 have values for different queries"):
        with_derived({**VALUES, UNSEEN: {"unseen/q": 1.0}}, {"gap": gap})
    with pytest.raises(ValueError, match="seen/recall_at_1 is the name of a metric that is there already"):
        with_derived(VALUES, {SEEN: gap})
    rank = MetricMeaning("count", "lower", "median")
    for parts in ([rank, rank], [MetricMeaning("fraction"), MetricMeaning("score")]):
        with pytest.raises(ValueError, match="not means in one unit"):
            gap.meaning(parts)


def test_a_mean_is_read_as_its_parts_and_a_difference_only_describes():
    parts = [MetricMeaning("fraction"), MetricMeaning("fraction")]
    assert Derived("mean", (SEEN, UNSEEN)).meaning(parts) == MetricMeaning("fraction", "higher")
    assert Derived("range", (SEEN, UNSEEN)).meaning(parts) == MetricMeaning("fraction", None)


def test_it_says_what_it_is_made_of():
    assert str(Derived("difference", ("a", "b"))) == "a minus b"
    assert str(Derived("difference", ("a", "b", "c"))) == "a minus b, c, their mean"
    assert str(Derived("range", ("a", "b"))) == "range of a, b"
