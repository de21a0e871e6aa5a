from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest

from diptych.contracts.news import Article
from diptych.data.news.news_database import UNREADABLE, stream_articles

PATH = Path("database.json")
RECORD = {"url": "u", "date": "2021-07-15T02:46:59Z", "title": "t", "images": ["a"], "content": "c"}


def articles(content: dict | str, gaps: Counter | None = None) -> list[Article]:
    text = content if isinstance(content, str) else json.dumps(content)
    file = io.BytesIO(text.encode())
    return [article for _, article in stream_articles(file, PATH, Counter() if gaps is None else gaps)]


def test_every_oddity_of_the_format(assets):
    gaps = Counter()
    with (assets / "openevents/Database/database.json").open("rb") as file:
        placed = list(stream_articles(file, PATH, gaps))
    assert [where.split(", ")[1] for where, _ in placed] == ["line 2", "line 5", "line 6", "line 7"]
    dam, cafe, blank, half = (article for _, article in placed)
    assert dam == Article(
        article_id="0000000000000012",
        url="https://news.invalid/1",
        title="Dam\tfails",
        text="First line\nsecond line\ufffd, a bell\ufffd.",
        date="2021-07-15T02:46:59Z",
        image_ids=("00000000000000a1", "00000000000000a2"),
    )
    assert (cafe.article_id, cafe.title, cafe.image_ids) == ("1234567890123456", "Café 😀 新聞", ("12e4567890123456",))
    assert cafe.text == 'A "}],{" and a \\", \n kept.'
    assert blank == Article("12e4567890123456", "", "", "", "2022-12-31T23:59:59Z", ())
    assert (half.title, half.date, half.url) == ("Half \ufffd and nothing\ufffdelse", "", "")
    assert half.image_ids == ("00000000000000a2", "0000000000000000")
    assert gaps == {"url": 2, "title": 1, "content": 1, "images": 1, "date": 1, UNREADABLE: 2}


def test_a_key_may_be_absent_from_an_article_but_not_from_all():
    others = {key: value for key, value in RECORD.items() if key != "content"}
    assert [article.text for article in articles({"1": RECORD, "2": others})] == ["c", ""]
    with pytest.raises(ValueError, match="no article has the key 'content'; the keys are: body, date, images, title"):
        articles({"1": {**others, "body": "c"}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, r"database\.json: no articles in it"),
        ({"1": RECORD, "2": "text"}, "line 1, article '2': expected an object with the keys url, date, title"),
        ({"1": {**RECORD, "title": 7}}, "article '1': key 'title' must be a string, found an integer: 7"),
        ({"1": {**RECORD, "images": "a"}}, "article '1': key 'images' must be a list of strings, found a string"),
        (
            {"1": {**RECORD, "images": [12]}},
            "article '1': key 'images' must be a list of strings, but holds an integer",
        ),
        ({"1": {**RECORD, "images": ["a", " "]}}, "key 'images': an id is ' '"),
        ({"#": RECORD}, "the article's id is '#': ids are printable, not blank"),
        ({"a\nb": RECORD}, r"the article's id is 'a\\nb'"),
        ({"\ud83d": RECORD}, "the article's id is"),
        ({"a\x0cb\x01": RECORD}, "the article's id is"),
        ({"1": {**RECORD, "images": ["\0"]}}, "key 'images': an id is"),
        (
            '{"1": ' + "[" * 101 + "]" * 101 + "}",
            r"line 1: the value of '1' is no record \(nested more than 100 times\)",
        ),
        ('{"1": {"title": "cut', "line 1: the value of '1' is not valid JSON"),
    ],
)
def test_what_is_wrong_and_where(content, message):
    with pytest.raises(ValueError, match=message):
        articles(content)
