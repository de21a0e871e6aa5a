"""The length of each photo's caption: from a file, whose faults are named, or by a rule."""

from __future__ import annotations

import json

import pytest

from diptych.contracts.news import Evidence, NewsQuery
from diptych.data.news.caption_lengths import LengthByShare, LengthsFromFile
from diptych.data.news.fusion_preparation import FusionInput, FusionPreparation
from diptych.data.news.prompt import PromptTemplate


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return LengthsFromFile(path)


def test_both_forms_of_a_file_say_the_same(tmp_path):
    table = written(tmp_path / "words.csv", "query_id,words,note\na,12,x\nb,300,\n")
    plain = written(tmp_path / "words.json", json.dumps({"a": 12, "b": 300, "c": 1}))
    for lengths in (table, plain):
        assert [lengths.words(query_id, "", "") for query_id in "ab"] == [12, 300]
        lengths.check(["a", "b"])
    assert table.settings() != plain.settings() == written(tmp_path / "again.json", plain.path.read_text()).settings()


def test_photos_that_the_file_lacks_are_named_all_at_once(tmp_path):
    lengths = written(tmp_path / "words.json", '{"a": 12}')
    with pytest.raises(ValueError, match=r"length.path=.*words.json: 2 of 3 photos have no words in it: b, c;"):
        lengths.check(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"1 of 1 photos have no words in it: b"):
        lengths.words("b", "", "")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("w.csv", "query_id,words\na,ten\n", r"w\.csv, line 2: photo 'a': words='ten' is not a whole number from 1"),
        ("w.csv", "query_id,words\na,3\nb,0\n", r"w\.csv, line 3: photo 'b': words='0'"),
        ("w.csv", "query_id,words\na,3\na,4\n", r"w\.csv, line 3: photo 'a' occurs twice"),
        ("w.csv", "query_id,length\na,3\n", r"w\.csv, line 2.*words"),
        ("w.json", '{"a": 2.5}', r"w\.json: 'a': 2\.5 is not a whole number of words from 1"),
        ("w.json", '{"a": true}', r"w\.json: 'a': True is not"),
        ("w.json", '{"a": 1, "a": 2}', r"w\.json: photo 'a' occurs twice"),
        ("w.json", "[1]", r"w\.json: expected one JSON object"),
    ],
)
def test_faults_of_a_file_are_named(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        written(tmp_path / name, text).settings()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv"):
        LengthsFromFile(tmp_path / "none.csv").settings()


def test_a_share_of_what_the_caption_is_written_from():
    of_article, of_evidence = LengthByShare(share=0.1), LengthByShare("evidence", 0.5, least=1, most=9)
    assert of_article.words("q", "word " * 453, "") == 45
    assert of_article.words("q", "word " * 5000, "") == 120 and of_article.words("q", "", "") == 20
    assert of_evidence.words("q", "word " * 453, "six words of evidence are here") == 3
    assert of_evidence.settings() == {"of": "evidence", "share": 0.5, "least": 1, "most": 9}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"of": "title"}, "of='title' is not one of article, evidence"),
        ({"share": 0.0}, r"share=0\.0 must be above 0"),
        ({"least": 5, "most": 4}, "least=5 and most=4"),
        ({"least": 0}, "least=0 and most=120"),
    ],
)
def test_a_rule_is_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        LengthByShare(**settings)


class Words:
    """A tokenizer of a token a word."""

    hf = None

    def encode_prompts(self, messages):
        return [[hash(word) for word in message.split()] for message in messages]

    def encode_completions(self, texts):
        return [[1] for _ in texts]

    def count(self, texts):
        return [len(text.split()) for text in texts]


class Nothing:
    name = "nothing"

    def extract(self, texts):
        return []

    def select(self, requests, count):
        return [() for _ in requests]


def test_the_prompt_asks_for_the_photos_own_length():
    prompt = PromptTemplate("Write.", "Photo:", "Article:", 60, {"length": "In {words} words."}, None, "Caption:")
    assert "In 60 words." in prompt.message("", Evidence()) and "In 7 words." in prompt.message("", Evidence(), 7)
    found = {}
    for length in (None, LengthByShare(least=7, most=7)):
        preparation = FusionPreparation(Words(), prompt, Nothing(), Nothing(), 100, length=length)
        (found[length],) = preparation.prepare([FusionInput(NewsQuery("q"), "A bus.", None)])
        message = prompt.message("A bus.", Evidence(), None if length is None else 7)
        assert [list(found[length].prompt_ids)] == Words().encode_prompts([message])
    assert [query.target_words for query in found.values()] == [None, 7]
