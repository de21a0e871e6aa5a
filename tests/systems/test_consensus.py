import numpy as np
import pytest

from diptych.metrics.captions.cider import cider
from diptych.systems.consensus import EmbeddingCloseness, choose, cider_closeness

CANDIDATES = [
    ["a man rides a horse on the beach", "two dogs", "a man rides a horse along the beach today"],
    ["fire in the old town hall", "fire in the town hall of Leeds", "the fire in the old town hall"],
    ["", "a red car stops", "a red car stops"],
]


class LetterEncoder:
    """Counts of letters, normalised."""

    name = "letters"

    def encode(self, texts: list[str]) -> np.ndarray:
        assert all(texts)
        counts = np.array([[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts], "f4")
        return counts / np.linalg.norm(counts, axis=-1, keepdims=True)


def test_cider_closeness_is_the_mean_over_the_others():
    found = cider_closeness(CANDIDATES)
    # Each pair by itself, with the same document frequencies: N copies of every query change none.
    number = 3
    for index in range(number):
        for other in range(number):
            if other != index:
                own = [of_query[index] for of_query in CANDIDATES]
                # The mean over all references, that with one more of `other`: what it adds is the pair's own value.
                once = number * cider(own, CANDIDATES)[1]
                more = (number + 1) * cider(own, [[*of_query, of_query[other]] for of_query in CANDIDATES])[1]
                found[:, index] -= (more - once) / (number - 1)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_the_one_that_agrees_with_the_others_is_kept():
    assert choose(CANDIDATES, cider_closeness) == [0, 0, 1]
    assert choose(CANDIDATES, EmbeddingCloseness(LetterEncoder())) == [2, 2, 1]


def test_of_equals_the_first_is_kept():
    candidates = [["a b c d e", "f g h i j", "a b c d e"], ["x y z", "u v w", "r s t"], ["", "", ""]]
    for closeness in (cider_closeness, EmbeddingCloseness(LetterEncoder())):
        assert choose(candidates, closeness)[::2] == [0, 0]
    assert choose(candidates, cider_closeness)[1] == 0


def test_embeddings_are_compared_with_the_others():
    closeness = EmbeddingCloseness(LetterEncoder())
    np.testing.assert_allclose(closeness([["aa", "ab", "b"]]), [[0.5**0.5 / 2, 0.5**0.5, 0.5**0.5 / 2]], atol=1e-6)
    np.testing.assert_array_equal(closeness([["", ""]]), [[0, 0]])


def test_too_little_to_choose_from_is_refused():
    for candidates in ([], [["a"]], [["a", "b"], ["a", "b", "c"]]):
        with pytest.raises(ValueError, match="the same number of candidates, at least 2"):
            choose(candidates, cider_closeness)
    with pytest.raises(ValueError, match="CIDEr of one item is not defined"):
        choose([["a", "b"]], cider_closeness)
