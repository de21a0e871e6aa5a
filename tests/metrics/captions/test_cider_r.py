"""Against values worked out on paper, and against CIDEr-D, whose similarities it shares."""

import math

import numpy as np
import pytest

from diptych.metrics.captions.cider import cider
from diptych.metrics.captions.cider_r import CIDErR, cider_r


def test_a_caption_equal_to_its_reference_has_ten():
    corpus, per_item = cider_r(["a b c d e", "x y"], [["a b c d e"], ["z"]])
    np.testing.assert_allclose(per_item, [10, 0], atol=1e-12)
    assert corpus == pytest.approx(5)


def test_penalties_by_hand():
    # Both n-gram orders of "a b" are all there; of orders 3 and 4 "a b b" has one and none, and its reference none.
    # Weights are ln 2 for all n-grams. Unigrams: caption (1, 2), reference (1, 1), clipped product 2; bigrams: caption
    # ab, bb, reference ab, product 1. Repetition: a 1/(1+0), b 1/(1+1). Lengths in bigrams: 2 and 1.
    _, per_item = cider_r(["a b b", "x"], [["a b"], ["y"]])
    cosines = 2 / (math.sqrt(5) * math.sqrt(2)) + 1 / math.sqrt(2)
    penalty = math.sqrt(1 / 2) ** 0.8 * math.exp(-((2 - 1) ** 2) / 1**2) ** 0.2
    assert per_item[0] == pytest.approx(10 * cosines / 4 * penalty, abs=1e-12)


def test_a_repeated_word_that_the_reference_lacks_costs():
    references = [["a b c d"], ["y"]]
    once, again = (cider_r([caption, "x"], references)[1][0] for caption in ("a b c d e f", "a b c d e e"))
    cosine = [cider([caption, "x"], references)[1][0] for caption in ("a b c d e f", "a b c d e e")]
    # The geometric mean over 6 words of which none is repeated, and over 5 of which one stands twice.
    penalty = (1 / 2) ** (0.8 / 5)
    assert again / once == pytest.approx(penalty * cosine[1] / cosine[0], abs=1e-12)


def test_length_counts_in_proportion_to_the_reference():
    words = [chr(letter) * 2 for letter in range(ord("a"), ord("z") + 1)]
    long, longer = " ".join(words[:21]), " ".join(words[:26])
    predictions, references = [longer, "x"], [[long], ["y"]]
    ratio = cider_r(predictions, references)[1][0] / cider(predictions, references)[1][0]
    assert ratio == pytest.approx(math.exp(-(5**2) / 20**2) ** 0.2 / math.exp(-(5**2) / 72), abs=1e-12)


def test_words_are_what_is_left_of_tokens_without_signs():
    # "u.s." is one token and twice no repetition: the words u, s, u, s.
    apart, together = (cider_r([caption, "x"], [["u.s. u.s."], ["y"]])[1][0] for caption in ("u.s.", "u.s. u.s."))
    assert together == pytest.approx(10 * 2 / 4, abs=1e-12)
    assert apart == pytest.approx(10 / 4 * (1 / 2) ** 0.8 * math.exp(-1) ** 0.2, abs=1e-12)


@pytest.mark.parametrize(
    ("caption", "reference", "score"),
    [("", "a b", 0), ("a", "a", 10 / 4), ("a b", "a", 0), ("", ".", 0), ("a", ".", 0)],
)
def test_shortest_captions(caption, reference, score):
    assert cider_r([caption, "x"], [[reference], ["y"]])[1][0] == pytest.approx(score, abs=1e-12)


def test_mean_over_references(predictions, reference_captions):
    corpus, per_item = cider_r(predictions, reference_captions)
    assert corpus == pytest.approx(per_item.mean()) and np.isfinite(per_item).all() and per_item[3] == 0


def test_one_item_is_refused():
    with pytest.raises(ValueError, match="at least two items"):
        cider_r(["a"], [["a"]])


def test_metric(items):
    metric = CIDErR()
    metric.update(items)
    scores = metric.compute()
    values = cider_r([item.caption for item in items], [item.reference_captions for item in items])
    assert scores.corpus == {"cider_r": values[0]} and scores.per_item["cider_r"].tolist() == values[1].tolist()
    assert "document frequencies: the references of the 5 items scored" in scores.describe()
