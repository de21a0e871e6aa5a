"""What METEOR's normalizer makes of texts; `make golden` compares it, by the scores, with the authors' program."""

import pytest

from diptych.metrics.captions.meteor_words import meteor_words

ABBREVIATIONS = {"v": False, "vs": False, "no": True}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        (" \t\x01 ", ""),
        ("a  man", "a man"),
        ("well-known u.s.-based", "well known us based"),
        ("it 's o'clock the dogs' 1990's 'tis", "it ' s o 'clock the dogs ' 1990 's ' tis"),
        ("3,000 a,b 3,b b,3 1.5", "3,000 a , b 3 , b b , 3 1.5"),
        ("u.k. u.s", "uk u.s"),
        ("the end.", "the end ."),
        ("inc. was", "inc. was"),  # a word in lower case follows: no end of a sentence
        ("vs. 5 no. 5 no. - . 5.", "vs. 5 no. 5 no . - . 5 ."),
        ("wait ... what.... a..b", "wait ... what .... a .. b"),
        ("`a\u2019b' \u201cc\u201d ''d", "' a 'b ' \" c \" \" d"),
        ("a -- b \u2013 c a-\u2013b", "a - b - c a- - b"),
        ("$5 50% a/b caf\xe9 \u6771\u4eac\xa0x", "$ 5 50 % a / b caf\xe9 \u6771 \u4eac x"),
    ],
)
def test_words(text, words):
    assert meteor_words(text, ABBREVIATIONS) == words.split()
