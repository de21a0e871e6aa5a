import math

import numpy as np
import pytest

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.length import Length, length

PREDICTIONS = ["one two  three\nfour", "", "one two"]
REFERENCES = [["one two", "one two three four five six"], ["one"], ["one two three four"]]


def test_lengths_by_hand():
    corpus, per_item = length(PREDICTIONS, REFERENCES)
    assert corpus == {
        "mean_words": 2.0,
        "median_words": 2.0,
        "mean_reference_words": 13 / 4,
        "length_ratio": pytest.approx(6 / 9),
        "empty_captions": 1.0,
        "empty_caption_share": pytest.approx(1 / 3),
    }
    np.testing.assert_allclose(per_item["words"], [4, 0, 2])
    np.testing.assert_allclose(per_item["length_ratio"], [1, 0, 0.5])


def test_without_references_there_is_no_ratio():
    corpus, per_item = length(["a b", "c"], [[], ["a b"]])
    assert corpus["length_ratio"] == 0.5 and np.isnan(per_item["length_ratio"]).tolist() == [True, False]
    corpus, _ = length(["a b"], [[]])
    assert math.isnan(corpus["length_ratio"]) and math.isnan(corpus["mean_reference_words"])
    assert corpus["mean_words"] == 2


def test_metric(items):
    metric = Length()
    metric.update(items[::-1])
    scores = metric.compute()
    expected, _ = length([item.caption for item in items], [item.reference_captions for item in items])
    assert scores.corpus == expected and scores.per_item["words"].tolist() == [5, 6, 6, 0, 3]
    metric.reset()
    metric.update([CaptionItem("hidden", "two words")])
    assert metric.compute().describe() == "N=1, references per item: 0"


def test_nothing_and_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="0 predictions"):
        length([], [])
    with pytest.raises(ValueError, match="1 predictions and references for 2 items"):
        length(["a"], [["a"], ["b"]])
