"""Stems that Snowball's English stemmer of METEOR 1.5 gives; `make golden` compares all words of its tables."""

import pytest

from diptych.text.english_stemmer import english_stem

STEMS = {
    # short words, and those with a stem of their own
    "as": "as", "'s": "'s", "is": "is", "skies": "sky", "dying": "die", "news": "news", "singly": "singl",
    # plurals and the genitive
    "classes": "class", "ties": "tie", "cries": "cri", "gas": "gas", "gaps": "gap", "kiwis": "kiwi", "bus": "bus",
    "pass": "pass", "dog's": "dog", "dogs'": "dog", "'tis": "tis", "herring": "herring", "proceeds": "proceed",
    # past and present participles
    "agreed": "agre", "feed": "feed", "exceedly": "exce", "plastered": "plaster", "bled": "bled", "sing": "sing",
    "conflated": "conflat", "troubling": "troubl", "sized": "size", "hopping": "hop", "tanned": "tan", "filing": "file",
    "falling": "fall", "hissing": "hiss", "failing": "fail", "fixing": "fix", "owed": "owe", "repeatedly": "repeat",
    # y
    "happy": "happi", "cry": "cri", "by": "by", "say": "say", "enjoyed": "enjoy", "youth": "youth", "yyy": "yyy",
    # other suffixes
    "relational": "relat", "conditional": "condit", "valency": "valenc", "hesitancy": "hesit", "digitizer": "digit",
    "vietnamization": "vietnam", "operator": "oper", "feudalism": "feudal", "hopefulness": "hope",
    "formality": "formal", "sensibility": "sensibl", "apology": "apolog", "analogously": "analog",
    "playfully": "play", "hopelessly": "hopeless", "kindly": "kind", "nearly": "near", "family": "famili",
    "electricity": "electr", "formative": "format", "goodness": "good", "revival": "reviv", "adoption": "adopt",
    "onion": "onion", "replacement": "replac", "probate": "probat", "rate": "rate", "controll": "control",
    "roll": "roll", "activate": "activ",
    # where the first region begins later than usual
    "generously": "generous", "communism": "communism", "arsenal": "arsenal", "general": "general",
    # not English
    "z\xfcrich": "z\xfcrich", "\u03b5\u03bb\u03bb\u03b1\u03c2": "\u03b5\u03bb\u03bb\u03b1\u03c2",
}  # fmt: skip


@pytest.mark.parametrize(("word", "stem"), STEMS.items())
def test_stems(word, stem):
    assert english_stem(word) == stem
