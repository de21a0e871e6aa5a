import math

import numpy as np
import pytest

from diptych.metrics.captions.bleu import BLEU, bleu, score_bleu
from diptych.metrics.captions.caption_corpus import CaptionCorpus

# pycocoevalcap 1.2 with its Java tokenizer on the captions of conftest.py.
CORPUS = [0.548102319806652, 0.5068874309694968, 0.4623348242661829, 0.4344821793551538]
BLEU_1 = [0.5488116358745021, 0.9999999996666668, 0.7054014371737114, 0.0, 0.5134171186903144]
BLEU_4 = [0.5488116358081874, 0.9999999995958335, 6.800874736195394e-05, 0.0, 2.427799659296287e-06]


def test_small_golden_captions(predictions, reference_captions):
    assert list(bleu(predictions, reference_captions).values()) == pytest.approx(CORPUS, abs=1e-12)
    _, per_item = score_bleu(CaptionCorpus(predictions, reference_captions))
    np.testing.assert_allclose(per_item["bleu_1"], BLEU_1, atol=1e-12)
    np.testing.assert_allclose(per_item["bleu_4"], BLEU_4, atol=1e-12)


def test_golden_scores(golden):
    content = golden("scores.json")
    corpus, per_item = score_bleu(CaptionCorpus(content["predictions"], content["references"]))
    assert corpus == pytest.approx(content["bleu"], abs=1e-6)
    assert bleu(content["predictions"], content["references"]) == corpus
    np.testing.assert_allclose(per_item["bleu_4"], content["bleu_4_per_item"], atol=1e-6)


def test_a_token_counts_as_often_as_in_one_reference():
    # "the" twice in one reference: two of seven match. The nearer length, 7, is the prediction's own.
    values = bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]])
    assert values["bleu_1"] == pytest.approx(2 / 7, abs=1e-6)


def test_of_two_equally_close_lengths_the_shorter_counts():
    assert bleu(["a b c"], [["a b c d", "a b"]])["bleu_1"] == pytest.approx(1, abs=1e-6)
    assert bleu(["a b c"], [["a b c d"]])["bleu_1"] == pytest.approx(math.exp(1 - 4 / 3), abs=1e-6)


def test_metric_is_over_the_corpus(items):
    metric = BLEU()
    for item in items:
        metric.update([item])
    scores = metric.compute()
    assert list(scores.corpus) == ["bleu_1", "bleu_2", "bleu_3", "bleu_4"]
    assert list(scores.corpus.values()) == pytest.approx(CORPUS, abs=1e-12)
    assert scores.describe() == "N=5, references per item: 1 to 3"
