"""Noun phrases as tokens of a batch."""

from __future__ import annotations

import pytest
import torch

from diptych.data.triplets.concepts import ConceptReader
from diptych.data.triplets.triplet_dataset import TripletCollator, TripletExample


class Counting:
    """Finds every word of three letters or more, and counts the texts that it was given."""

    def __init__(self):
        self.read = []

    def load(self):
        pass

    def phrases(self, texts):
        self.read += texts
        return [tuple(dict.fromkeys(word for word in text.split() if len(word) > 2)) for text in texts]


class Listed(Counting):
    def __init__(self, **phrases):
        super().__init__()
        self.listed = phrases

    def phrases(self, texts):
        return [self.listed[text] for text in texts]


@pytest.fixture
def reader(tiny_preprocessing):
    return ConceptReader(Counting(), tiny_preprocessing)


def decoded(ids):
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer().decode(ids.tolist()).strip()


def test_each_phrase_is_marked_in_its_text_and_among_its_own_tokens(reader, tiny_preprocessing):
    texts = ["a lamp", "no", "the unbelievably big rug"]
    tokens = tiny_preprocessing.tokenize(texts)
    concepts = reader(texts, tokens.mask.shape[1])
    phrases = ["lamp", "the", "unbelievably", "big", "rug"]
    assert concepts.rows.tolist() == [0, 2, 2, 2, 2]
    for number, phrase in enumerate(phrases):
        row = int(concepts.rows[number])
        assert decoded(tokens.input_ids[row][concepts.in_text[number]]) == phrase
        assert decoded(concepts.input_ids[number][concepts.alone[number]]) == phrase
        assert int(concepts.mask[number].sum()) == int(concepts.alone[number].sum()) + 2  # start and end
    assert not (concepts.alone & ~concepts.mask).any()


def test_the_first_place_counts_and_words_are_found_whole(tiny_preprocessing):
    reader = ConceptReader(Listed(**{"bedside bed and Bed": ("Bed",)}), tiny_preprocessing)
    concepts = reader(["bedside bed and Bed"], 8)
    assert concepts.in_text[0].nonzero().flatten().tolist() == [2]  # the start token is place 0


def test_what_the_context_cut_off_is_left_out(reader):
    text = " ".join(["a"] * 74) + " lamp rug"  # 77 tokens with start and end hold the lamp alone
    concepts = reader([text], 77)
    assert [decoded(ids[mask]) for ids, mask in zip(concepts.input_ids, concepts.alone, strict=True)] == ["lamp"]


def test_no_phrases_at_all(reader):
    concepts = reader(["a", "no"], 9)
    assert concepts.rows.shape == (0,) and concepts.in_text.shape == (0, 9)
    assert concepts.input_ids.shape == concepts.alone.shape == (0, 2)


def test_what_was_read_beforehand_is_not_read_again(reader):
    reader.remember(["a lamp", "the rug"])
    before = reader(["a lamp", "the rug", "a lamp"], 5)
    assert reader.finder.read == ["a lamp", "the rug"]
    reader(["a lamp", "two beds", "two beds"], 5)
    assert reader.finder.read == ["a lamp", "the rug", "two beds"]
    reader(["two beds"], 5)  # was not known beforehand: read when it comes
    assert reader.finder.read[3:] == ["two beds"]
    assert before.rows.tolist() == [0, 1, 1, 2]


def test_a_tokenizer_that_marks_no_words_is_refused():
    class Fixed:
        def tokenize(self, texts):
            from diptych.contracts.models import TextTokens

            return TextTokens(torch.zeros(len(texts), 8, dtype=torch.long), torch.ones(len(texts), 8, dtype=torch.bool))

    with pytest.raises(ValueError, match="its tokenizer does not mark where a text starts and ends"):
        ConceptReader(Counting(), Fixed())


def test_the_collator_adds_them_when_it_is_told_to(reader, tiny_preprocessing):
    pixels = torch.zeros(3, 4, 4, dtype=torch.uint8)
    examples = [TripletExample(text, pixels, pixels, text, 0, 1) for text in ("a lamp", "the rug")]
    assert TripletCollator(tiny_preprocessing)(examples).concepts is None
    batch = TripletCollator(tiny_preprocessing, reader)(examples)
    assert batch.concepts.rows.tolist() == [0, 1, 1]
    assert batch.concepts.in_text.shape == (3, batch.text.mask.shape[1])
    assert batch.to("meta").concepts.rows.is_meta
