"""Each signature is said just beyond its threshold, and not just before it."""

import pytest

from diptych.results.signatures import article_signatures, retrieval_signatures


def evaluated(scored=100, reference_first=None, intervals=None, **metrics):
    counts = None if reference_first is None else {"reference_first": reference_first}
    return {
        "protocol": {"primary_metric": "recall_at_1"},
        "queries": {"scored": scored, "expected": scored},
        "metrics": {name.replace("__", "/"): value for name, value in metrics.items()},
        "intervals": intervals,
        "counts": counts,
    }


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (evaluated(recall_at_1=0.19, recall_at_10=0.6), "The target is among the first ten for 60.0 % of the queries"),
        (evaluated(recall_at_1=0.2, recall_at_10=0.6), None),
        (evaluated(recall_at_1=0.0, recall_at_10=0.49), None),
        (evaluated(reference_first=25), "comes first for 25 of 100 queries (25.0 %)"),
        (evaluated(reference_first=24), None),
        (evaluated(scored=3, reference_first=1), None),
        (evaluated(recall_at_1=0.5, image_only__recall_at_1=0.5), "0 % with image_only: the reference image alone"),
        (evaluated(recall_at_1=0.5, image_only__recall_at_1=0.49), None),
        (evaluated(recall_at_1=0.0, image_only__recall_at_1=0.0), None),
        (evaluated(recall_at_1=0.5, text_only__recall_at_1=0.51), "so the reference image hardly counts"),
        (
            evaluated(recall_at_1=0.5, sum__recall_at_1=0.45, intervals={"recall_at_1": [0.45, 0.55]}),
            "recall_at_1 is 50.0 %, and 45.0 % with sum",
        ),
        (evaluated(recall_at_1=0.5, sum__recall_at_1=0.44, intervals={"recall_at_1": [0.45, 0.55]}), None),
        (evaluated(recall_at_1=0.5, sum__recall_at_1=0.44, intervals={"recall_at_1": [None, None]}), None),
        (evaluated(), None),  # answers hidden
    ],
)
def test_composed_retrieval(record, words):
    said = retrieval_signatures(record)
    assert len(said) == (words is not None) and (words is None or words in said[0])


def compared(verification=None, overlap=0.5, answered=200, **recalls):
    """Of two encoders that are as good as their ensemble; `recalls` are (at 1, at 10) of those that differ."""
    names = ("x", "y", "ensemble", "verified", "without_x", "without_y", "union")
    metrics = {}
    for name in names:
        first, ten = recalls.get(name, (0.5, 0.9))
        metrics[name.replace("_", " ")] = {"recall_at_1": first, "recall_at_10": ten}
    return {
        "answered": answered,
        "encoders": ["x", "y"],
        "overlap": {"x + y": {"overlap_at_1": overlap}},
        "metrics": metrics if answered else {},
        "verification": verification,
    }


def verification(fell_back=0, unreadable=0, **orders):
    outcomes = {"verified": 1000 - unreadable, "unreadable": unreadable}
    lost = {"first_won": 9, "first_lost": 2}
    return {"queries": 200, "moved": 9, "fell_back": fell_back, "outcomes": outcomes, "orders": orders, **lost}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (compared(), None),
        (compared(verification(kept=190, worse=2, better=8)), None),
        (
            compared(verification(kept=190, worse=3, better=7)),
            "Verification moved 3 right answers down, 2 of them from the first place, and 7 up",
        ),
        (compared(verification(fell_back=99)), None),
        (
            compared(verification(fell_back=100)),
            "fell back to the order of the embeddings for 100 of 200 queries (50.0 %)",
        ),
        (compared(verification(unreadable=10)), None),
        (compared(verification(unreadable=11)), "11 of 1,000 pairs (1.1 %) could not be compared"),
        (compared(verified=(0.3, 0.9)), None),
        (compared(verified=(0.29, 0.9)), "The right article is among the first ten for 90.0 %"),
        (compared(overlap=0.89), None),
        (compared(overlap=0.9), "x + y have the same first article for 90.0 % of the queries"),
        (compared(without_x=(0.509, 0.9)), None),
        (compared(without_x=(0.51, 0.9)), "below the 51.0 % without x"),
        (compared(without_x=(0.51, 0.9), answered=100), None),  # one query is noise
        (compared(without_x=(0.52, 0.9), answered=100), "below the 52.0 % without x"),
        (compared(y=(0.52, 0.9)), "recall at 1 of 50.0 %, below the 52.0 % that y has alone"),
        (compared(union=(0.6, 0.94)), None),
        (compared(union=(0.6, 0.95)), "for 95.0 % of the queries, the ensemble for 90.0 %"),
        (compared(answered=0), None),
        (compared(verification(fell_back=150), answered=0), "fell back"),
    ],
)
def test_retrieval_of_articles(record, words):
    said = article_signatures(record)
    assert len(said) == (words is not None) and (words is None or words in said[0])


def test_counts_of_an_earlier_version_say_nothing_of_falling_back():
    counts = verification(kept=200)
    del counts["fell_back"]
    assert article_signatures(compared(counts)) == []


def test_a_single_encoder_has_nobody_to_be_compared_with():
    record = compared()
    record |= {"encoders": ["x"], "overlap": {}}
    record["metrics"] = {name: record["metrics"][name] for name in ("x", "ensemble", "verified", "union")}
    assert article_signatures(record) == []
