import pytest
import torch

from diptych.annotation.filters import Agreement, Diversity, ForbiddenPhrases, TextLength


def test_forbidden_phrases_are_whole_words_in_any_case():
    refuses = ForbiddenPhrases(["as shown", "lamp (tall)"]).refuses
    assert refuses("A lamp as  Shown.", [])
    assert refuses("a LAMP (tall)!", [])
    assert refuses("Take the lamp of image 1.", [])
    assert not refuses("It has shown a lamp.", [])
    assert not ForbiddenPhrases().refuses("As shown.", [])
    with pytest.raises(ValueError, match="blank"):
        ForbiddenPhrases([" "])


def test_length_counts_words():
    refuses = TextLength(2, 3).refuses
    assert [refuses(text, []) for text in ("Go.", "Go now.", "Go right now!", "Go right now, please.")] == [
        True,
        False,
        False,
        True,
    ]
    with pytest.raises(ValueError, match="min_words=5"):
        TextLength(5, 4)


def test_diversity_compares_with_what_is_kept():
    refuses = Diversity(0.6).refuses
    assert not refuses("Add a lamp.", [])
    assert refuses("A lamp: add!", ["Remove it.", "Add a lamp."])
    assert refuses("Add a tall lamp.", ["Add a lamp."])  # 3 of 4 words
    assert not refuses("Add a tall lamp.", ["Add a blue lamp."])  # 3 of 5
    with pytest.raises(ValueError, match="max_overlap"):
        Diversity(0)


class Compass:
    """Texts that name a direction are embedded there."""

    def embed_texts(self, texts):
        return torch.tensor([[1.0, 0.0] if "east" in text else [0.0, 1.0] for text in texts])


def test_texts_must_be_nearer_to_the_target_by_the_margin():
    north, north_east = torch.tensor([0.0, 1.0]), torch.tensor([0.8, 0.6])
    texts = ["go east", "go north"]
    assert Agreement(margin=0.0).agreeing(Compass(), texts, north, north_east) == [True, False]
    assert Agreement(margin=0.79).agreeing(Compass(), texts, north, north_east) == [True, False]
    assert Agreement(margin=0.81).agreeing(Compass(), texts, north, north_east) == [False, False]
    assert Agreement(margin=None).agreeing(Compass(), texts, north, north_east) == [True, True]


def test_near_identical_pairs():
    one, other = torch.tensor([0.0, 1.0]), torch.tensor([0.6, 0.8])
    assert not Agreement(max_image_similarity=0.81).near_identical(one, other)
    assert Agreement(max_image_similarity=0.79).near_identical(one, other)
    assert not Agreement(max_image_similarity=None).near_identical(one, one)
    with pytest.raises(ValueError, match="leave the stage out"):
        Agreement(margin=None, max_image_similarity=None)
