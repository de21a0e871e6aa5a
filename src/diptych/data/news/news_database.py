"""`database.json` as OpenEvents V1 publishes it: one object, article id to url, date, title, images and content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from diptych.contracts.news import Article
from diptych.data.annotations import Record
from diptych.data.news.json_stream import stream_members

NO_ARTICLE = "#"  # what result files write where an article is missing: never an id
UNREADABLE = "an unreadable character"
_REPLACED = "\ufffd"  # what `encodable` puts where a character was that no text can hold
KEYS = ("url", "date", "title", "images", "content")


def stream_articles(file: BinaryIO, path: Path, gaps: Counter[str]) -> Iterator[tuple[str, Article]]:
    """Every article in file order, each with its position (file, line, id) for errors; one in memory at a time.

    Texts are given as published, but as `encodable` has them. A key that is absent or null gives an empty text or no
    images. `gaps` counts, as it goes, the articles where a key is absent, null or blank, by key, and those with a
    U+FFFD, under `UNREADABLE`. `path` is what errors call the file.

    Raises:
        ValueError: the file breaks the format; an id is blank, or holds control characters or a U+FFFD; no article at
            all; or a key that no article has. An id that occurs twice is for the caller to see.
    """
    seen: set[str] = set()
    empty = True
    for member in stream_members(file, path):
        empty = False
        where = f"{path}, line {member.line}, article {member.key!r:.80}"
        if not isinstance(member.value, dict):
            raise ValueError(f"{where}: expected an object with the keys {', '.join(KEYS)}; found {member.value!r:.80}")
        record = Record(where, member.value)
        seen |= member.value.keys()
        yield where, _article(member.key, record, gaps)
    if empty:
        raise ValueError(f"{path}: no articles in it")
    for key in KEYS:
        if key not in seen:
            raise ValueError(f"{path}: no article has the key {key!r}; the keys are: {', '.join(sorted(seen))}")


def _article(article_id: str, record: Record, gaps: Counter[str]) -> Article:
    _check_id(article_id, "the article's id", record)
    texts = {key: record.text(key) if key in record else "" for key in ("url", "title", "content", "date")}
    image_ids = record.texts("images") if "images" in record else ()
    for image_id in image_ids:
        _check_id(image_id, "key 'images': an id", record)
    gaps.update(key for key, text in texts.items() if not text.strip())
    if not image_ids:
        gaps["images"] += 1
    if any(_REPLACED in text for text in texts.values()):
        gaps[UNREADABLE] += 1
    return Article(article_id, texts["url"], texts["title"], texts["content"], texts["date"], image_ids)


def _check_id(identifier: str, name: str, record: Record) -> None:
    if not identifier.strip() or not identifier.isprintable() or _REPLACED in identifier or identifier == NO_ARTICLE:
        raise record.error(
            f"{name} is {identifier!r:.80}: ids are printable, not blank, without U+FFFD, and not {NO_ARTICLE!r}"
        )
