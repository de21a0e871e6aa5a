"""Diversity of texts: numbers that fit on paper, and self-BLEU against one text at a time."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch

from diptych.annotation.diversity import diversity_table, text_diversity
from diptych.metrics.captions.bleu import bleu


def words_of_four(texts):
    """Tokens as words, of which the encoder reads four."""
    lengths = [len(text.split()) for text in texts]
    mask = torch.zeros(len(texts), max(lengths), dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, : min(length, 4)] = True
    return SimpleNamespace(mask=mask, num_truncated=sum(length > 4 for length in lengths))


def test_numbers_worked_out_by_hand():
    texts = [["Make the rug blue."], ["Make the rug red."], ["Add a lamp on the left."]]
    found = text_diversity(texts, preprocessing=SimpleNamespace(tokenize=words_of_four))
    assert (found["records"], found["texts"], found["sampled"]) == (3, 3, 3)
    assert found["words"] == {"mean": pytest.approx(14 / 3), "median": 4.0, "most": 6}
    assert found["tokens"] == {"mean": 4.0, "cut": pytest.approx(1 / 3)}
    assert found["first_word"] == {
        "distinct": 2,
        "commonest": [["make", pytest.approx(2 / 3)], ["add", pytest.approx(1 / 3)]],
    }
    assert [words for words, _ in found["first_two_words"]["commonest"]] == ["make the", "add a"]
    # make the rug blue red add a lamp on left; make-the the-rug rug-blue rug-red add-a a-lamp lamp-on on-the the-left
    assert found["distinct_1"] == pytest.approx(10 / 14) and found["distinct_2"] == pytest.approx(9 / 11)
    assert "make the 66.7 %" in diversity_table({"one": found, "two": found})


def test_self_bleu_is_the_mean_of_each_text_against_all_others():
    rng = random.Random(1)
    vocabulary = ["make", "the", "rug", "blue", "red", "add", "remove", "lamp", "chair", "left", "right", "now"]
    texts = [" ".join(rng.choice(vocabulary) for _ in range(9)) for _ in range(12)]
    found = text_diversity([[text] for text in texts])
    for order in (2, 3, 4):
        alone = [
            bleu([text], [texts[:place] + texts[place + 1 :]])[f"bleu_{order}"] for place, text in enumerate(texts)
        ]
        assert found[f"self_bleu_{order}"] == pytest.approx(sum(alone) / len(alone))
    same = text_diversity([["Make the rug blue now."]] * 5)
    assert same["self_bleu_4"] == pytest.approx(1.0) and same["distinct_1"] == pytest.approx(5 / 25)


def test_sets_of_different_size_are_compared_on_equally_many_texts():
    """Ten wordings of a pair are one of them in the sample; the same draw gives the same numbers."""
    texts = [[f"Make thing {place} blue.", f"Thing {place} should be blue."] for place in range(50)]
    found = text_diversity(texts, sample=20)
    assert found["sampled"] == 20 and found["texts"] == 100
    assert found == text_diversity(texts, sample=20) != text_diversity(texts, sample=20, seed=1)
    assert text_diversity(texts * 10, sample=20)["sampled"] == 20


def test_what_cannot_be_compared_is_none_or_refused():
    alone = text_diversity([["Add a lamp."], []])
    assert alone["self_bleu_4"] is None and alone["distinct_1"] == 1.0 and alone["tokens"] is None
    assert text_diversity([["..."], ["!"]])["distinct_2"] is None
    with pytest.raises(ValueError, match="texts of 0 records"):
        text_diversity([[]])
