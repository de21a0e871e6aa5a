"""What a caption's score owes to the captions that were scored beside it."""

from __future__ import annotations

import pytest

from diptych.contracts.news import CaptionItem
from diptych.metrics.captions.bleu import BLEU
from diptych.metrics.captions.cider import CIDEr, cider
from diptych.metrics.captions.rouge_l import RougeL
from diptych.results.caption_evaluation import score_captions
from diptych.results.caption_subset import CaptionSubset

ITEMS = [CaptionItem(f"q{i:02}", f"a bus number {i}", (f"the bus number {i} stops", f"bus {i}")) for i in range(20)]


def names(items):
    return [item.query_id for item in items]


def test_a_smaller_number_is_drawn_among_a_larger_one_and_the_measured_are_always_the_same():
    drawn = {(n, s): names(CaptionSubset(n, 4, seed=s).of(ITEMS)) for n in (4, 8, 12) for s in (0, 1)}
    assert [len(drawn[n, 0]) for n in (4, 8, 12)] == [4, 8, 12]
    for seed in (0, 1):
        assert set(drawn[4, seed]) < set(drawn[8, seed]) < set(drawn[12, seed])
    assert drawn[4, 0] == drawn[4, 1] and drawn[8, 0] != drawn[8, 1]
    assert drawn[12, 0] == sorted(drawn[12, 0], key=names(ITEMS).index)
    assert CaptionSubset().of(ITEMS) == ITEMS


def test_the_measured_have_the_values_that_they_have_among_all():
    subset = CaptionSubset(num_photos=12, num_measured=4, num_references=1)
    items = subset.of(ITEMS)
    assert all(item.reference_captions == (f"the bus number {int(item.query_id[1:])} stops",) for item in items)
    measured, scores = subset.of_measured(items, score_captions(items, {"cider": CIDEr()}))
    _, all_values = cider([item.caption for item in items], [item.reference_captions for item in items])
    expected = [value for item, value in zip(items, all_values, strict=True) if item in measured]
    assert len(measured) == 4 and scores["cider"].query_ids == tuple(names(measured))
    assert scores["cider"].per_item["cider"].tolist() == expected
    assert scores["cider"].corpus["cider"] == pytest.approx(sum(expected) / 4)
    assert scores["cider"].describe().startswith("N=12, references per item: 1")


def test_what_cannot_be_had_is_said():
    with pytest.raises(ValueError, match="caption_subset.num_photos=0 must be a number of 1 or more"):
        CaptionSubset(num_photos=0)
    with pytest.raises(ValueError, match="num_measured=5 is more than num_photos=4"):
        CaptionSubset(num_photos=4, num_measured=5)
    with pytest.raises(ValueError, match="asks for 21 photos: the split has 20"):
        CaptionSubset(num_photos=21).of(ITEMS)
    with pytest.raises(ValueError, match="num_references=3: query 'q00' has 2 reference captions"):
        CaptionSubset(num_references=3).of(ITEMS)
    scores = score_captions(ITEMS, {"rouge_l": RougeL(), "bleu": BLEU()})
    with pytest.raises(ValueError, match="bleu_4 of the metric bleu is no mean of values of single captions"):
        CaptionSubset(num_measured=4).of_measured(ITEMS, scores)
