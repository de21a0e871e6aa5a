import numpy as np
import pytest

from diptych.metrics.captions.caption_corpus import CaptionCorpus


def test_counts_of_a_small_corpus():
    corpus = CaptionCorpus(["a b a b", "c"], [["a b", "b a b"], ["c", "d d"]])
    assert corpus.lengths.tolist() == [4, 1, 2, 3, 1, 2]
    assert corpus.item_of_reference.tolist() == [0, 0, 1, 1]
    one, two, three, four = corpus.ngram_counts
    assert one.item.tolist() == [0, 0, 1] and one.count.tolist() == [2, 2, 1]
    assert one.reference.tolist() == [0, 0, 1, 1, 2, 3] and one.reference_count.tolist() == [1, 1, 1, 2, 1, 2]
    assert one.match.tolist() == [0, 1, 0, 1, 2, -1]
    assert two.count.tolist() == [2, 1]  # "a b" twice, "b a" once
    assert [counts.num_ngrams for counts in (one, two, three, four)] == [4, 3, 2, 1]
    assert three.match.tolist() == [1] and four.match.tolist() == []


def test_counts_equal_those_of_plain_python():
    generator = np.random.default_rng(0)

    def text() -> str:
        return " ".join(generator.choice(list("abc"), generator.integers(0, 9)))

    corpus = CaptionCorpus([text() for _ in range(30)], [[text(), text()] for _ in range(30)])
    texts = corpus.predictions + [tokens for of_item in corpus.references for tokens in of_item]
    for order, counts in enumerate(corpus.ngram_counts, start=1):
        expected = sorted(
            (number, sum(1 for other in grams if other == gram))
            for number, tokens in enumerate(texts)
            for grams in [[tuple(tokens[i : i + order]) for i in range(len(tokens) - order + 1)]]
            for gram in set(grams)
        )
        found = [*zip(counts.item.tolist(), counts.count.tolist(), strict=True)]
        found += zip((counts.reference + 30).tolist(), counts.reference_count.tolist(), strict=True)
        assert sorted(found) == expected


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "no predictions"),
        (["a", "b"], [["a"]], "2 predictions but references for 1 items"),
        (["a", "b"], [["a"], []], "item 1 has no reference caption"),
        (["a", "b"], [["a"], "b"], "references of item 1: expected a list of texts, found one text"),
        (["a", None], [["a"], ["b"]], "prediction of item 1: expected a text, found None"),
        (["a", "b"], [["a"], ["b", 3]], "references of item 1: expected texts, found 3"),
        ("ab", [["a"], ["b"]], "not one text"),
    ],
)
def test_faulty_captions_are_refused(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        CaptionCorpus(predictions, references)


def test_captions_without_a_token():
    corpus = CaptionCorpus(["", "."], [["!"], ["..."]])
    assert corpus.lengths.tolist() == [0, 0, 0, 0]
    assert all(len(counts.item) == len(counts.reference) == 0 for counts in corpus.ngram_counts)
