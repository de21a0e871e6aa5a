import numpy as np
import pytest

from diptych.metrics.captions.cider import CIDEr, cider

# pycocoevalcap 1.2 with its Java tokenizer on the captions of conftest.py.
PER_ITEM = [3.9689643147947318, 5.0877093737682735, 3.2858248031814155, 0.0, 1.0696360455446592]


def test_small_golden_captions(predictions, reference_captions):
    corpus, per_item = cider(predictions, reference_captions)
    assert corpus == pytest.approx(2.682426907457816, abs=1e-12)
    np.testing.assert_allclose(per_item, PER_ITEM, atol=1e-12)


def test_published_vectors():
    predictions = ["a man rides a horse", "two dogs play in the snow", "a red car on the street"]
    references = [
        ["a man rides a horse on the beach"],
        ["two dogs play in the snow"],
        ["a red bus parked on the street"],
    ]
    corpus, per_item = cider(predictions, references)
    np.testing.assert_allclose(per_item, [6.656588, 10.0, 3.192393], atol=1e-6)
    assert corpus == pytest.approx(6.616327, abs=1e-6)
    predictions[0] = "a man rides a horse on the beach"
    references[1].append("dogs playing outside in the snow")
    corpus, per_item = cider(predictions, references)
    np.testing.assert_allclose(per_item, [10.0, 6.5625, 3.192393], atol=1e-6)
    assert corpus == pytest.approx(6.584964, abs=1e-6)


def test_golden_scores(golden):
    content = golden("scores.json")
    corpus, per_item = cider(content["predictions"], content["references"])
    assert corpus == pytest.approx(content["cider"]["corpus"], abs=1e-6)
    np.testing.assert_allclose(per_item, content["cider"]["per_item"], atol=1e-6)


def test_one_item_is_refused():
    with pytest.raises(ValueError, match="CIDEr of one item is not defined.*at least two"):
        cider(["a dog"], [["a dog"]])


def test_an_ngram_in_every_item_weighs_nothing():
    _, per_item = cider(["a a a a", "b"], [["a"], ["a b"]])
    assert per_item[0] == 0
    assert per_item[1] > 0


def test_scores_depend_on_the_items_scored_together(predictions, reference_captions):
    _, per_item = cider(predictions[:3], reference_captions[:3])
    assert not np.allclose(per_item, PER_ITEM[:3], atol=0.01)


def test_metric_tells_what_its_value_rests_on(items):
    metric = CIDEr()
    metric.update(items[4:1:-1])
    metric.update(items[1::-1])
    scores = metric.compute()
    assert scores.query_ids == ("a", "b", "c", "d", "e")
    assert scores.corpus == {"cider": pytest.approx(2.682426907457816, abs=1e-12)}
    np.testing.assert_allclose(scores.per_item["cider"], PER_ITEM, atol=1e-12)
    assert (scores.num_items, scores.references_per_item) == (5, (1, 3))
    assert scores.describe() == (
        "N=5, references per item: 1 to 3, document frequencies: the references of the 5 items scored"
    )
