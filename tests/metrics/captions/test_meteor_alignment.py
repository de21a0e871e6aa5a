import itertools

import pytest

from diptych.metrics.captions.meteor_alignment import MatchedText, align, count_chunks, java_hash, stem_hash


def text(words, synsets=None, phrases=None, paraphrases=None):
    words = words.split()
    return MatchedText(
        [java_hash(word) for word in words],
        [stem_hash(word) for word in words],
        [frozenset((synsets or {}).get(word, "")) for word in words],
        phrases or {},
        [(paraphrases or {}).get(start, []) for start in range(len(words))],
    )


def pairs(matches):
    return [(match.start, match.caption_start) for match in matches]


def test_hashes_are_those_of_java():
    assert java_hash("") == 0
    assert java_hash("hello") == 99162322
    assert java_hash("polygenelubricants") == 1 << 31
    assert java_hash("\U0001f600") == 31 * 0xD83D + 0xDE00
    assert java_hash("g7") == java_hash("eu")  # so METEOR takes the one for the other, and so do we


def test_equal_words_before_stems_before_synsets():
    caption, reference = text("cars car auto", {"auto": "1", "car": "1", "cars": "1"}), text("car", {"car": "1"})
    assert [(match.stage, match.caption_start) for match in align(caption, reference, 3)] == [(0, 1)]
    caption = text("cars auto", {"auto": "1", "cars": "1"})
    assert [match.stage for match in align(caption, reference, 1)] == []
    assert [match.stage for match in align(text("cars"), reference, 2)] == [1]
    assert [match.stage for match in align(text("auto", {"auto": "1"}), reference, 3)] == [2]
    assert [match.stage for match in align(text("auto", {"auto": "2"}), reference, 3)] == []


def test_the_fewest_chunks_are_chosen_and_no_word_is_used_twice():
    caption, reference = text("the dog saw the cat"), text("the cat saw the dog")
    matches = align(caption, reference, 2)
    assert pairs(matches) == [(0, 3), (1, 4), (2, 2), (3, 0), (4, 1)]
    assert count_chunks(matches) == 3
    assert pairs(align(text("a a a"), text("a a"), 2)) == [(0, 0), (1, 1)]


def test_a_text_equal_to_its_reference_is_one_chunk():
    same = text("a b a b a b a b a b", {"a": "1", "b": "1"})
    matches = align(same, same, 3)
    assert pairs(matches) == [(place, place) for place in range(10)]
    assert count_chunks(matches) == 1


def test_most_words_are_matched_of_all_that_could_be():
    # By trying all: with exact matches alone, and few enough of them, the beam loses nothing.
    for words in itertools.product("ab", repeat=4):
        caption, reference = " ".join(words), "b a c a b"
        matches = align(text(caption), text(reference), 1)
        assert len(matches) == sum(min(words.count(word), reference.split().count(word)) for word in "ab")
        kept = [[place for place, other in enumerate(words) if other == word] for word in reference.split()]
        tried = itertools.product(*([*places, None] for places in kept))
        most = [
            [(start, place) for start, place in enumerate(choice) if place is not None]
            for choice in tried
            if len(set(choice) - {None}) == len(matches) == sum(place is not None for place in choice)
        ]
        chunks = [1 + sum(b != (a[0] + 1, a[1] + 1) for a, b in itertools.pairwise(choice)) for choice in most]
        assert not matches or count_chunks(matches) == min(chunks)


def test_phrases_match_both_ways_and_count_all_their_words():
    # "in front of" stands in the table with the paraphrase "before", not the other way round.
    phrase = text("he stood in front of it", paraphrases={2: [(3, ["before"])]}, phrases={"in front of": [2]})
    word = text("before it", phrases={"before": [0]})
    assert [tuple(match) for match in align(phrase, word, 4)] == [(3, 0, 1, 2, 3), (0, 1, 1, 5, 1)]
    assert [tuple(match) for match in align(word, phrase, 4)] == [(3, 2, 3, 0, 1), (0, 5, 1, 1, 1)]
    assert count_chunks(align(word, phrase, 4)) == 1
    assert pairs(align(phrase, word, 3)) == [(1, 5)]


@pytest.mark.parametrize(("caption", "reference"), [("", ""), ("", "a"), ("a", ""), ("a", "b")])
def test_nothing_in_common(caption, reference):
    assert align(text(caption), text(reference), 4) == []
    assert count_chunks([]) == 0
