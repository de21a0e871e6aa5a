"""Articles of one's own: texts in a table, or files that it names, which are read when an article is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.contracts.news import Article, ArticleLookup
from diptych.data.annotations import Record, resolve_inside
from diptych.data.local_paths import local_path
from diptych.data.news.article_file import read_article


@dataclass(frozen=True, slots=True)
class _Named:
    """An article as the rows of a table have it; `where` is the first of them, `file` the place of the text, if any."""

    where: str
    text: str
    file: Path | None
    title: str
    date: str


class OwnArticles(ArticleLookup):
    """The articles that the records of a table name, by id, in the order of first use.

    The id of an article that stands in the table is 16 characters of its text's hash, so that a text is one article in
    whatever rows it stands; that of a file is its path. `source` is the table.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._named: dict[str, _Named] = {}

    def add(self, record: Record) -> str | None:
        """Takes in the article of a record of the table (keys `article` or `article_file`, `title`, `date`), and
        returns its id; None where the record names none.

        Raises:
            ValueError: it names both, a title or date of no article, or another title or date than an earlier record.
        """
        title, date = (record.text(key).strip() if key in record else "" for key in ("title", "date"))
        if "article" not in record and "article_file" not in record:
            if title or date:
                raise record.error("a title or date stands beside no article; give it in 'article' or 'article_file'")
            return None
        if "article" in record and "article_file" in record:
            raise record.error("'article' and 'article_file' are both given; keep one of them")
        article_id, text, file = self._text(record)
        known = self._named.get(article_id)
        if known is None:
            self._named[article_id] = _Named(record.where, text, file, title, date)
            return article_id
        for name, own, earlier in (("title", title, known.title), ("date", date, known.date)):
            if own and earlier and own != earlier:
                raise record.error(
                    f"the article has another {name} than in an earlier row: {own!r:.80}, {earlier!r:.80}"
                )
        self._named[article_id] = replace(known, title=known.title or title, date=known.date or date)
        return article_id

    def _text(self, record: Record) -> tuple[str, str, Path | None]:
        if "article" in record:
            text = record.text("article")
            return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16], text, None
        path = local_path(record, "article_file", record.name("article_file"))
        return path, "", resolve_inside(self.source.parent, path)

    @property
    def files(self) -> Sequence[Path]:
        """The files that articles are read from."""
        return [named.file for named in self._named.values() if named.file is not None]

    def require_files(self) -> None:
        """Does nothing where every file is there; ValueError names the first that is not, and counts them."""
        absent = [named for named in self._named.values() if named.file is not None and not named.file.is_file()]
        if absent:
            number = "" if len(absent) == 1 else f" ({len(absent)} files of articles are not there)"
            raise ValueError(f"{absent[0].where}: the article {absent[0].file} is not there{number}")

    def __len__(self) -> int:
        return len(self._named)

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __contains__(self, article_id: object) -> bool:
        return article_id in self._named

    def __getitem__(self, article_id: str) -> Article:
        """The article, its file read now; ValueError if there is none, or its file cannot be read."""
        if article_id not in self._named:
            raise ValueError(f"{self.source} names no article {article_id!r}")
        named = self._named[article_id]
        parts = {"text": named.text, "title": named.title, "date": named.date}
        if named.file is not None:
            try:
                parts |= read_article(named.file, named.title, named.date)
            except OSError as error:
                raise ValueError(f"{named.where}: {named.file} cannot be read: {error.strerror or error}") from None
        return Article(article_id, "", parts["title"], parts["text"], parts["date"])

    def article_ids_of_image(self, image_id: str) -> Sequence[str]:
        """None: there are no photos beside those that are captioned."""
        return ()
