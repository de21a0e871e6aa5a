"""Articles on disk: hundreds of thousands are read once, one by one, into an SQLite file, and then looked up there."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import sqlite3
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from diptych.contracts.news import Article
from diptych.data.news.news_database import NO_ARTICLE, stream_articles
from diptych.storage.file_lock import locked
from diptych.storage.json_values import json_value
from diptych.storage.key import key_of
from diptych.storage.regular_file import open_regular
from diptych.storage.whole import remove_unfinished, whole_file

log = logging.getLogger(__name__)

DOCS_PAGE = "docs/openevents.md"
_ROOM = "it takes about the room of the articles' file; to have it elsewhere, name a folder: `prepared`"
_FORMAT = 2  # raise it when the same source begins to give another store
_INTEGERS = {"format", "source_size", "source_mtime_ns", "num_articles", "num_images"}
_ARTICLES = "SELECT article_id FROM article ORDER BY position"
_IMAGES = "SELECT image_id FROM image GROUP BY image_id ORDER BY MIN(position), MIN(place)"
_TABLES = (
    "CREATE TABLE article (position INTEGER PRIMARY KEY, article_id TEXT NOT NULL UNIQUE, url TEXT NOT NULL,"
    " title TEXT NOT NULL, text TEXT NOT NULL, date TEXT NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE image (position INTEGER, place INTEGER, image_id TEXT NOT NULL, PRIMARY KEY (position, place))"
    " WITHOUT ROWID",
    "CREATE TABLE facts (json TEXT NOT NULL)",
)
_INDEX = "CREATE INDEX article_of_image ON image (image_id)"
_LOST = {  # the first row that its index does not lead to
    "article": "SELECT article_id FROM article AS row NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM article AS found"
    " INDEXED BY sqlite_autoindex_article_1"
    " WHERE found.article_id = row.article_id AND found.position = row.position) LIMIT 1",
    "image": "SELECT image_id FROM image AS row NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM image AS found"
    " INDEXED BY article_of_image"
    " WHERE (found.image_id, found.position, found.place) = (row.image_id, row.position, row.place)) LIMIT 1",
}
_MOST_FACTS = 100_000  # characters of the line of facts, which has a few hundred
_STEPS = 1_000_000  # of SQLite's machine, between two looks at whether a query has an end


class ArticleStore:
    """The articles of one `database.json`, looked up by id in an SQLite file that is made from it once.

    - Opening reads a line of facts; articles are read when asked for, and none is kept in memory.
    - The file belongs to the source's size and modification time: when they differ it is made anew. It appears in one
      step, complete; several processes that need it at once wait for the one that makes it.
    - A store can be pickled, and used by forked workers and threads: each opens the file for itself, read-only.
    - An article is compared with its checksum whenever it is read, and what is iterated over at the end of it. (Stores
      of earlier versions are read on, unchecked.)
    - What becomes of the published texts, and what `gaps` counts, is said in `stream_articles`.

    Iteration and `in` are over article ids; `articles()` gives the records.
    """

    def __init__(self, source: Path, file: Path, facts: dict[str, Any]) -> None:
        """Use `open`."""
        self.source, self.file = source, file
        self._facts = facts
        self._own = threading.local()

    @classmethod
    def open(cls, source: str | Path, folder: str | Path | None = None, show_progress: bool = True) -> ArticleStore:
        """The store of a `database.json`; makes it if it is not there, out of date or damaged, with a progress bar.

        It lies beside the source, as `database.articles.sqlite`, or in `folder` under a name of the source's own.

        Raises:
            ValueError: the source is absent or breaks the format (names line, article and key); or the store cannot be
                written.
        """
        source = Path(source)
        stamp = _stamp(source)
        file = _store_file(source, folder)
        facts = _current_facts(file, stamp)
        if facts is None:
            with locked(file.with_name(f"{file.name}.lock"), advice=_ROOM):
                remove_unfinished(file.parent, file.name)
                facts = _current_facts(file, stamp)  # another process may have made it meanwhile
                if facts is None:
                    _make(source, file, stamp, show_progress)
                    facts = _current_facts(file, stamp)
        if facts is None:
            raise ValueError(f"{file} was made but cannot be read back; is the disk full or failing?")
        return cls(source, file, facts)

    @classmethod
    def of_file(cls, file: Path) -> ArticleStore:
        """A store without its source, as it is; ValueError where it is damaged."""
        try:
            with closing(_connect(file)) as connection:
                return cls(file, file, _facts(connection))
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise ValueError(f"{file} is damaged ({error}); delete it, and it is made again") from None

    def check(self) -> int:
        """Reads everything; returns the number of articles. ValueError if anything is damaged."""
        for _ in self.articles():
            pass
        for table in ("article", "image"):
            self._check_index(table)
        return len(self)

    def __reduce__(self) -> tuple:
        return type(self), (self.source, self.file, self._facts)

    def __len__(self) -> int:
        return self._facts["num_articles"]

    @property
    def num_images(self) -> int:
        """The number of different photos printed with the articles."""
        return self._facts["num_images"]

    @property
    def gaps(self) -> dict[str, int]:
        """How many articles lack something, by what they lack (see `stream_articles`)."""
        return dict(self._facts["gaps"])

    def __contains__(self, article_id: object) -> bool:
        return isinstance(article_id, str) and self._row(article_id) is not None

    def __iter__(self) -> Iterator[str]:
        """Article ids in file order."""
        yield from self._ids("articles", _ARTICLES)

    def __getitem__(self, article_id: str) -> Article:
        """The article; ValueError naming the store if there is none of this id."""
        row = self._row(article_id)
        if row is None:
            hint = f" ({NO_ARTICLE!r} stands for a missing article)" if article_id == NO_ARTICLE else ""
            raise ValueError(f"{self.source} holds no article {article_id!r}{hint}; looked in its store {self.file}")
        return self._article(row)

    def articles(self) -> Iterator[Article]:
        """Every article, in file order, one in memory at a time."""
        expected = 0
        for row in self._stream("SELECT * FROM article ORDER BY position"):
            if row[0] != expected:
                break
            yield self._article(row)
            expected += 1
        if expected != len(self):
            raise self._damaged(f"article {expected + 1:,} of {len(self):,} is not there")

    def image_ids(self) -> Iterator[str]:
        """Every photo once, in the order of its first article."""
        yield from self._ids("images", _IMAGES)

    def article_ids_of_image(self, image_id: str) -> tuple[str, ...]:
        """The articles that a photo is printed with, in file order: one, in the published set.

        Raises:
            ValueError: none; names the store.
        """
        self._check_index("image")
        rows = self._rows(
            "SELECT DISTINCT article_id, position FROM image JOIN article USING (position) WHERE image_id = ?"
            " ORDER BY position",
            (image_id,),
        )
        if not rows:
            raise ValueError(f"{self.source} holds no article with the image {image_id!r}; looked in {self.file}")
        return tuple(article_id for article_id, _ in rows)

    def _row(self, article_id: str) -> tuple | None:
        """The row of the article; None where there is surely none: a damaged id looks just so."""
        rows = self._rows("SELECT * FROM article WHERE article_id = ?", (article_id,))
        if not rows:
            self._check_index("article")
            return None
        if rows[0][1] != article_id:
            raise self._damaged(f"the index of its articles leads from {article_id!r} to another one")
        return rows[0]

    def _check_index(self, table: str) -> None:
        """Compares a table's ids with their checksum, and looks every row up in its index, once in each thread: an id
        that is not found is then not there.
        """
        self._connection()
        if table in self._own.checked:
            return
        for _ in self.image_ids() if table == "image" else self:
            pass
        if lost := self._rows(_LOST[table], ()):
            raise self._damaged(f"the index does not lead to the {table} {lost[0][0]!r}")
        self._own.checked.add(table)

    def _article(self, row: tuple) -> Article:
        position, article_id, url, title, text, date, checksum = row
        images = self._rows("SELECT image_id FROM image WHERE position = ? ORDER BY place", (position,))
        article = Article(article_id, url, title, text, date, tuple(image_id for (image_id,) in images))
        if checksum != _crc_of_article(position, article):
            raise self._damaged(f"the article {article_id!r} is not as it was written")
        return article

    def _ids(self, kind: str, query: str) -> Iterator[str]:
        checksum = 0
        for (name,) in self._stream(query):
            checksum = _crc_of_texts([name], checksum)
            yield name
        if checksum != self._facts["checksums"].get(kind):
            raise self._damaged(f"the ids of its {kind} are not those that were written")

    def _damaged(self, reason: object) -> ValueError:
        return ValueError(f"{self.file} cannot be read ({reason}); delete it, and it is made again")

    def _rows(self, query: str, values: tuple) -> list[tuple]:
        return list(self._stream(query, values))

    def _stream(self, query: str, values: tuple = ()) -> Iterator[tuple]:
        try:
            connection = self._connection()
            most = self._own.num_bytes  # a row takes more than one
            connection.set_progress_handler(_patience(most), _STEPS)
            for number, row in enumerate(connection.execute(query, values)):
                if number > most or not all(isinstance(value, str | int) for value in row):
                    raise sqlite3.DatabaseError("rows without an end" if number > most else "bytes where texts belong")
                yield row
        except (sqlite3.Error, UnicodeDecodeError, OSError) as error:  # the latter: it has gone
            raise self._damaged(error) from None

    def _connection(self) -> sqlite3.Connection:
        """This thread's own connection; what a forked worker inherits is replaced."""
        if getattr(self._own, "process", None) != os.getpid():
            connection = _connect(self.file)
            try:
                facts = _facts(connection)
            except (ValueError, TypeError) as error:
                raise self._damaged(error) from None
            if facts != self._facts:
                connection.close()
                raise ValueError(f"{self.file} was made anew since this store was opened; open it again")
            self._own.connection, self._own.process = connection, os.getpid()
            self._own.checked = set()
            self._own.num_bytes = self.file.stat().st_size
        return self._own.connection


# ---------------------------------------------------------------------------------------------------- files


def _stamp(source: Path) -> dict[str, int]:
    """What a store must carry to belong to the source as it is now."""
    try:
        status = source.stat()
    except OSError as error:
        raise ValueError(f"{source} cannot be read ({error.strerror}); {DOCS_PAGE} says where it belongs") from None
    return {"format": _FORMAT, "source_size": status.st_size, "source_mtime_ns": status.st_mtime_ns}


def _store_file(source: Path, folder: str | Path | None) -> Path:
    if folder is None:
        return source.with_name(f"{source.stem}.articles.sqlite")
    digest = hashlib.sha256(os.fsencode(source.absolute())).hexdigest()[:8]  # two sets may share the folder
    return Path(folder) / f"{source.stem}-{digest}.articles.sqlite"


def _connect(file: Path) -> sqlite3.Connection:
    # Immutable: the file is replaced, never changed, so it needs no locks and may lie on a read-only disk.
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _facts(connection: sqlite3.Connection) -> dict[str, Any]:
    """The facts of a store, which `_finish` has written.

    Raises:
        ValueError: they are none, or there is anything but our own tables, such as a view in a table's place, which may
            go on for ever.
    """
    found = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchmany(len(_TABLES) + 2)
    if sorted(found) != sorted((statement,) for statement in (*_TABLES, _INDEX)):
        raise ValueError("its tables are not those of a store")
    facts = json_value(connection.execute(f"SELECT substr(json, 1, {_MOST_FACTS}) FROM facts").fetchone()[0])
    if not isinstance(facts, dict) or not isinstance(facts.get("gaps"), dict) or not facts.keys() >= _INTEGERS:
        raise ValueError("it says nothing of its articles")
    numbers = [*(facts[name] for name in _INTEGERS), *facts["gaps"].values()]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its counts are no numbers")
    if not isinstance(facts.get("checksums"), dict) or facts.get("crc") != key_of({**facts, "crc": None}):
        raise ValueError("what it says of itself is not what was written")
    return facts


def _patience(num_bytes: int) -> Callable[[], bool]:
    """Whether a query is to be stopped: it takes many more steps than a table of so many bytes can be worth."""
    looks = itertools.count()
    return lambda: next(looks) > 10 + 10 * num_bytes // _STEPS


def _crc_of_texts(texts: Iterable[Any], checksum: int = 0) -> int:
    for text in texts:  # which damage may have made a number or bytes
        checksum = zlib.crc32(f"{text}\0".encode("utf-8", "surrogatepass"), checksum)
    return checksum


def _crc_of_article(position: int, article: Article) -> int:
    texts = (article.article_id, article.url, article.title, article.text, article.date)
    return _crc_of_texts([position, *texts, len(article.image_ids), *article.image_ids])


def _current_facts(file: Path, stamp: dict[str, int]) -> dict[str, Any] | None:
    """The facts of the store if it is there, whole, and carries the stamp."""
    if not file.is_file():
        return None
    try:
        with closing(_connect(file)) as connection:
            facts = _facts(connection)
    except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("%s is damaged (%s); making it again", file, error)
        return None
    if stamp.items() <= facts.items():
        return facts
    log.info("%s was made from another state of its source; making it again", file)
    return None


# ---------------------------------------------------------------------------------------------------- making


def _make(source: Path, file: Path, stamp: dict[str, int], show_progress: bool) -> None:
    """Write the store, which is there once it is complete and on the disk."""
    log.info("articles of %s are put into %s, once", source, file)
    gaps: Counter[str] = Counter()
    bar = Progress(console=Console(stderr=True), disable=not show_progress)
    try:
        with (
            whole_file(file) as temporary,
            closing(sqlite3.connect(temporary, isolation_level=None)) as connection,
            bar,
        ):
            title = f"reading {source.name}"
            with (
                open_regular(source) as unread,
                bar.wrap_file(unread, source.stat().st_size, description=title) as database,
            ):
                _fill(connection, stream_articles(database, source, gaps))
            if _stamp(source) != stamp:
                raise ValueError(f"{source} changed while it was read; run this again")
            _finish(connection, stamp, gaps)
    except (OSError, sqlite3.OperationalError) as error:
        raise ValueError(f"{file} cannot be made ({error}); {_ROOM}") from None
    if gaps:
        log.warning("%s: articles that lack something: %s", source, ", ".join(f"{key} {gaps[key]:,}" for key in gaps))


def _fill(connection: sqlite3.Connection, articles: Iterable[tuple[str, Article]]) -> None:
    for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"):
        connection.execute(f"PRAGMA {setting}")  # nobody sees the file before it is complete: no way back needed
    connection.execute("BEGIN")
    for table in _TABLES:
        connection.execute(table)
    for position, (where, article) in enumerate(articles):
        texts = (article.article_id, article.url, article.title, article.text, article.date)
        try:
            connection.execute(
                "INSERT INTO article VALUES (?, ?, ?, ?, ?, ?, ?)",
                (position, *texts, _crc_of_article(position, article)),
            )
        except sqlite3.IntegrityError:
            found = connection.execute("SELECT position FROM article WHERE article_id = ?", (article.article_id,))
            first = found.fetchone()[0] + 1
            raise ValueError(
                f"{where}: the id occurs twice in the file, first as its {first}. article; ids must be unique"
            ) from None
        images = ((position, place, image_id) for place, image_id in enumerate(article.image_ids))
        connection.executemany("INSERT INTO image VALUES (?, ?, ?)", images)


def _finish(connection: sqlite3.Connection, stamp: dict[str, int], gaps: Counter[str]) -> None:
    connection.execute(_INDEX)
    counts = "SELECT (SELECT COUNT(*) FROM article), (SELECT COUNT(DISTINCT image_id) FROM image)"
    num_articles, num_images = connection.execute(counts).fetchone()
    queries = {"articles": _ARTICLES, "images": _IMAGES}
    checksums = {kind: _crc_of_texts(name for (name,) in connection.execute(query)) for kind, query in queries.items()}
    facts = {**stamp, "num_articles": num_articles, "num_images": num_images, "gaps": gaps, "checksums": checksums}
    facts["crc"] = key_of({**facts, "crc": None})
    connection.execute("INSERT INTO facts VALUES (?)", (json.dumps(facts),))
    connection.execute("COMMIT")
