import itertools

import pytest

from diptych.annotation.combine import SentenceCombiner, SentenceJoiner, TokenLimit, join, leave_sentences
from diptych.annotation.filters import Diversity

WORDS = ("vase", "clock", "mirror", "sofa", "desk", "stool", "screen", "basket")


def sentences(number):
    return [f"Add a {word}." for word in WORDS[:number]]


@pytest.fixture
def tokens(tiny_preprocessing):
    return TokenLimit(tiny_preprocessing)


# n + n(n-1) + n(n-1)(n-2) ordered choices of one to three sentences; the unordered ones divide by 2 and by 6.
@pytest.mark.parametrize(
    ("number", "ordered", "texts"), [(5, True, 85), (5, False, 25), (7, True, 259), (7, False, 63), (2, True, 4)]
)
def test_every_permutation_is_counted(number, ordered, texts, tokens):
    found = SentenceCombiner(ordered=ordered, limit=1000).combine("pair", sentences(number), tokens)
    assert len(found.texts) == len(set(found.texts)) == texts
    assert found.dropped == {}
    arrange = itertools.permutations if ordered else itertools.combinations
    assert set(found.parts) == {parts for k in (1, 2, 3) for parts in arrange(range(number), k)}


def test_the_limit_is_a_seeded_choice_that_knows_no_other_pair(tokens):
    combiner = SentenceCombiner(limit=10)
    found = combiner.combine("pair", sentences(5), tokens)
    assert len(found.texts) == 10
    assert found.dropped == {"over_limit": 75}
    assert found == SentenceCombiner(limit=10).combine("pair", sentences(5), tokens)
    assert found.parts != combiner.combine("other", sentences(5), tokens).parts
    assert found.parts != SentenceCombiner(limit=10, seed=1).combine("pair", sentences(5), tokens).parts
    # a larger limit adds texts, and changes none
    assert SentenceCombiner(limit=20).combine("pair", sentences(5), tokens).texts[:10] == found.texts


def test_texts_of_more_than_77_tokens_are_dropped(tokens, tiny_preprocessing):
    fits, exceeds = "a" + " lamp" * 74, "a" + " lamp" * 75  # with start and end: 77 and 78
    assert not tokens.exceeded_by(fits)
    assert tokens.exceeded_by(exceeds)
    assert TokenLimit(tiny_preprocessing, max_tokens=76).exceeded_by(fits)
    found = SentenceCombiner(limit=100).combine("pair", [fits[:-5] + ".", "Add a vase."], tokens)
    assert found.parts == ((0,), (1,)) or set(found.parts) == {(0,), (1,)}
    assert found.dropped == {"too_long": 2}


def test_contradictions_and_repetitions_inside_a_text_are_dropped(tokens):
    given = ["Make the rug blue.", "Make the rug green.", "Turn the rug blue."]
    found = SentenceCombiner(limit=100).combine("pair", given, tokens)
    assert sorted(found.parts) == [(0,), (1,), (2,)]
    assert found.dropped == {"contradiction": 10, "repetition": 2}
    assert len(found.texts) + sum(found.dropped.values()) == 15


def test_filters_make_room_for_other_texts(tokens):
    found = SentenceCombiner(limit=7).combine("pair", sentences(3), tokens, [Diversity(0.99)])
    assert len({frozenset(parts) for parts in found.parts}) == len(found.parts) == 7
    assert sum(found.dropped.values()) == 15 - 7


def test_all_sentences_as_one_text_without_what_is_said_before(tokens):
    told = ["Make the rug red.", "Remove the lamp.", "The rug should be red.", "Add a plant."]
    (text,) = SentenceJoiner().combine("p", told, tokens).texts
    assert [text.lower().count(word) for word in ("rug", "lamp", "plant")] == [1, 1, 1]
    found = SentenceJoiner(singles=True).combine("p", told, tokens)
    assert found.texts == (text, *told) and found.parts[0] == (0, 1, 3)
    assert SentenceJoiner(singles=True).combine("p", told[:1], tokens).texts == (told[0],)


def test_without_combining_sentences_stay_as_they_are(tokens):
    found = leave_sentences([*sentences(2), "long" * 100], tokens)
    assert found.texts == tuple(sentences(2))
    assert found.parts == ((0,), (1,))
    assert found.dropped == {"too_long": 1}


@pytest.mark.parametrize(
    ("given", "joints", "text"),
    [
        (["add a lamp"], [], "Add a lamp."),
        (["Add a lamp.", "Remove the rug."], [". "], "Add a lamp. Remove the rug."),
        (["Add a lamp.", "Remove the rug."], [", and "], "Add a lamp, and remove the rug."),
        (["Add a lamp!", "Remove the rug"], ["; also "], "Add a lamp; also remove the rug."),
        (["Add a lamp.", "remove the rug."], [". "], "Add a lamp. Remove the rug."),
        (["Add a lamp.", "TVs go.", "Is it at 5 p.m.?"], [", and ", ". "], "Add a lamp, and TVs go. Is it at 5 p.m.?"),
        (['Add a sign "Exit."', "Remove it."], [". "], 'Add a sign "Exit." Remove it.'),
    ],
)
def test_joined_texts_are_written_as_texts_are(given, joints, text):
    assert join(given, joints) == text


def test_names_keep_their_capital():
    assert join(["Add a rug.", "Persian rugs go."], [", and "], names=["Persian"]) == "Add a rug, and Persian rugs go."


def test_joints_vary(tokens):
    texts = SentenceCombiner(limit=300).combine("pair", sentences(6), tokens).texts
    for joint in (". Add", ", and add", "; also add"):
        assert any(joint in text for text in texts)
    assert max(text.count("; also ") for text in texts) == max(text.count(", and ") for text in texts) == 1


@pytest.mark.parametrize("settings", [{"min_sentences": 0}, {"min_sentences": 4}, {"limit": 0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match="combine"):
        SentenceCombiner(**settings)
