"""OpenEvents V1 (EVENTA 2025, Track 1): news photos, the articles they were printed with, captions that tell the event.

Query ids are the ids of the query photos (`image_index` in training, `query_id` in test files), which are other photos
than those of the database. Every id is 16 lower-case hexadecimal characters, and stays a string.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from diptych.contracts.news import NewsQuery, NewsSource
from diptych.contracts.retrieval import GalleryImage
from diptych.data.annotations import Record, check_split, load_json_lines, resolve_inside
from diptych.data.csv_rows import load_rows
from diptych.data.news.article_store import ArticleStore
from diptych.data.news.news_database import NO_ARTICLE
from diptych.storage.presence import require_folder

# Where the files are, below the root; the test set is one of two.
FILES = {"database": "Database/database.json", "train": "Train Set/gt_train.csv"}
TEST_FILES = {"public": "Track 1 - Public Set/query.csv", "private": "Track 1 - Private Set/query.csv"}
# Rows of the published files; the training rows are those of train and val together.
PUBLISHED_COUNTS = {"articles": 202_803, "train": 22_040, "public": 3_000, "private": 2_000}
_HEX_ID = re.compile(r"[0-9a-f]{16}")
_FOLDER_DEPTH = 2  # how far below a part's folder its photos are looked for: archives bring folders of their own


class OpenEvents(NewsSource):
    """OpenEvents V1 on disk. Construction reads nothing; every method may raise ValueError naming file, line or key.

    - `test_set`: `public` or `private`, the two official sets without answers; `test` means the one chosen.
    - `val_share`: no val split is published, so this part of the training articles, chosen by a hash of their ids, is
      kept back with all its photos. It depends on nothing else: other rows or another order leave it as it is.
    - `prepared`: the folder for the article store; beside `database.json` by default.
    - `files`: other places below the root for `database`, `train`, `val` or `test`. A `val` of its own has the columns
      of the training file and ends the keeping back; a `test` with these columns has answers.
    - `image_folders`: places of the photos below the root, for the same names; by default they are found near the file.
    - `photos`: a file of JSON lines with the `query_id` of the photos to caption, in all splits; None: all.
    """

    name = "openevents"
    docs_page = "docs/openevents.md"
    splits = ("train", "val", "test")
    published_counts: Mapping[str, int] = PUBLISHED_COUNTS  # a set of the same layout but other size has its own
    submission_format = "diptych.submission.eventa.EVENTAFormat"

    def __init__(
        self,
        root: str | Path,
        test_set: str = "public",
        val_share: float = 0.05,
        prepared: str | Path | None = None,
        files: Mapping[str, str] | None = None,
        image_folders: Mapping[str, str] | None = None,
        photos: str | Path | None = None,
    ) -> None:
        if test_set not in TEST_FILES:
            raise ValueError(f"test_set {test_set!r} is not known for OpenEvents; choose public or private")
        if not 0 <= val_share < 1:
            raise ValueError(f"val_share={val_share} must be at least 0 and below 1")
        self.root = Path(root)
        self.test_set = test_set
        self.val_share = val_share
        self._prepared = prepared
        self._files = {**FILES, "test": TEST_FILES[test_set], **_known_parts("files", files)}
        self._image_folders = _known_parts("image_folders", image_folders)
        self._photos = None if photos is None else Path(photos)
        self._found_folders: dict[str, Path] = {}
        self._read: dict[str, list[NewsQuery]] = {}
        self._queries: dict[str, list[NewsQuery]] = {}
        self._articles: ArticleStore | None = None

    def articles(self, show_progress: bool = True) -> ArticleStore:
        """The database's articles. The first call on a machine prepares them, with a progress bar; later ones open.

        Raises:
            ValueError: the database is absent or breaks the format, or the store cannot be written.
        """
        if self._articles is None:
            self._articles = ArticleStore.open(self._file("database"), self._prepared, show_progress)
        return self._articles

    def queries(self, split: str) -> list[NewsQuery]:
        """The photos to caption, in file order; several rows of one photo become its several reference captions.

        Raises:
            ValueError: a file is absent, a row breaks the format, rows of one photo disagree, nothing is kept back for
                val, or the split has none of the chosen photos.
        """
        check_split(split, self.splits, "OpenEvents")
        if split not in self._queries:
            queries = self._whole(self._part(split))
            if split != "test" and self._keeps_val_back:
                queries = [query for query in queries if self._is_val(query) == (split == "val")]
            if not queries:
                raise ValueError(
                    f"{self._file('train')}: val_share={self.val_share} leaves nothing for {split}; choose another, or"
                    " name a file for val under `files`"
                )
            self._queries[split] = queries if self._photos is None else self._chosen(queries, split)
        return self._queries[split]

    def _chosen(self, queries: list[NewsQuery], split: str) -> list[NewsQuery]:
        assert self._photos is not None
        ids = {record.name("query_id") for record in load_json_lines(self._photos, self.docs_page)}
        chosen = [query for query in queries if query.query_id in ids]
        if not chosen:
            raise ValueError(f"{self._photos}: none of its {len(ids)} photos is one of {self.name} {split}")
        return chosen

    def answers_hidden(self, split: str) -> bool:
        """Whether the split has no reference captions."""
        return not self.queries(split)[0].reference_captions

    def image_path(self, split: str, query_id: str) -> Path:
        """The file of a query photo, always inside the folder of photos. It need not exist."""
        check_split(split, self.splits, "OpenEvents")
        return resolve_inside(self._image_folder(self._part(split)), f"{query_id}.jpg")

    def database_image_path(self, image_id: str) -> Path:
        """The file of a photo printed with an article, always inside their folder. It need not exist."""
        return resolve_inside(self._image_folder("database"), f"{image_id}.jpg")

    def gallery(self) -> Iterator[GalleryImage]:
        """Every photo of the database once, in its order: what image retrieval searches."""
        for image_id in self.articles().image_ids():
            yield GalleryImage(image_id, self.database_image_path(image_id))

    def notes(self, split: str) -> list[str]:
        """What a doctor should say about a split beside missing photos: counts that are not the published ones, queries
        without an annotated article, and annotated articles that the database lacks or has no text for.

        Raises:
            ValueError: as `queries` and `articles`.
        """
        queries, store = self.queries(split), self.articles()
        notes = list(self._count_notes(split, len(store)))
        if self.answers_hidden(split):
            return notes
        named = {query.article_id for query in queries if query.article_id is not None}
        absent = sorted(article_id for article_id in named if article_id not in store)
        blank = sorted(article_id for article_id in named.difference(absent) if not store[article_id].text.strip())
        unnamed = [query.query_id for query in queries if query.article_id is None]
        for found, meaning in (
            (unnamed, "queries have no annotated article"),
            (absent, "annotated articles are not in the database"),
            (blank, "annotated articles have no text"),
        ):
            if found:
                notes.append(f"{self.name} {split}: {len(found):,} {meaning}, first {found[0]}")
        return notes

    @property
    def _keeps_val_back(self) -> bool:
        return "val" not in self._files

    def _part(self, split: str) -> str:
        return "train" if split == "val" and self._keeps_val_back else split

    def _is_val(self, query: NewsQuery) -> bool:
        # By article, so that no event is on both sides; a photo without one stands for itself.
        digest = hashlib.sha256((query.article_id or query.query_id).encode()).digest()
        return int.from_bytes(digest[:8], "big") < self.val_share * 2**64

    def _whole(self, part: str) -> list[NewsQuery]:
        """Every query of a file, val's among train's."""
        if part not in self._read:
            self._read[part] = _read_queries(self._file(part), self.docs_page, may_be_hidden=part == "test")
        return self._read[part]

    def _file(self, part: str) -> Path:
        require_folder(self.root, "OpenEvents", self.docs_page)
        return self.root / self._files[part]

    def _image_folder(self, part: str) -> Path:
        if part not in self._found_folders:
            if part in self._image_folders:
                folder = self.root / self._image_folders[part]
            else:
                folder = find_image_folder(self._file(part).parent, part)
            self._found_folders[part] = folder
        return self._found_folders[part]

    def _count_notes(self, split: str, num_articles: int) -> Iterator[str]:
        part = self._part(split)
        num_rows = sum(max(1, len(query.reference_captions)) for query in self._whole(part))
        for expected, found, what in (
            (self.published_counts.get(self.test_set if part == "test" else part), num_rows, "rows"),
            (self.published_counts.get("articles"), num_articles, "articles"),
        ):
            if expected is not None and expected != found:
                yield f"{self.name} {split}: {expected:,} {what} expected as published, the files hold {found:,}"


def find_image_folder(folder: Path, part: str) -> Path:
    """The folder at or below `folder` that holds .jpg files, the nearest; `folder` itself if there are none anywhere.

    Raises:
        ValueError: several are equally near, as with photos of two sizes.
    """
    level = [folder] if folder.is_dir() else []
    for _ in range(_FOLDER_DEPTH + 1):
        found = [candidate for candidate in level if _holds_photos(candidate)]
        if len(found) > 1:
            raise ValueError(
                f"{folder} holds photos in {' and in '.join(path.name for path in found)}; name the one to use, with"
                f" its path below the data's folder, under `image_folders`: {part}"
            )
        if found:
            return found[0]
        level = sorted(child for parent in level for child in parent.iterdir() if child.is_dir() and _is_own(child))
    return folder


def _holds_photos(folder: Path) -> bool:
    return any(path.suffix.lower() == ".jpg" and _is_own(path) for path in folder.iterdir())


def _is_own(path: Path) -> bool:
    """Not what a desktop adds to archives (`__MACOSX/`, `._name.jpg`)."""
    return not path.name.startswith((".", "__"))


def _known_parts(setting: str, values: Mapping[str, str] | None) -> dict[str, str]:
    parts = ("database", *OpenEvents.splits)
    for part in values or {}:
        if part not in parts:
            raise ValueError(f"{setting} names {part!r}, which is not a part of OpenEvents; choose {', '.join(parts)}")
    return dict(values or {})


# ---------------------------------------------------------------------------------------------------- rows


def _read_queries(path: Path, docs_page: str, may_be_hidden: bool) -> list[NewsQuery]:
    queries: dict[str, NewsQuery] = {}
    for record in load_rows(path, docs_page):
        if may_be_hidden and "image_index" not in record:
            query = NewsQuery(_hex_id(record, "query_id"))
            if query.query_id in queries:
                raise record.error(f"query id {query.query_id!r} occurs twice; query ids must be unique within a split")
        else:
            query = _annotated(record)
            if (known := queries.get(query.query_id)) is not None:
                query = _merged(known, query, record)
        queries[query.query_id] = query
    return list(queries.values())


def _annotated(record: Record) -> NewsQuery:
    return NewsQuery(
        query_id=_hex_id(record, "image_index"),
        reference_captions=(record.name("caption"),),
        article_id=_optional_id(record, "retrieved_article_id"),
        image_id=_optional_id(record, "retrieved_image_id"),
    )


def _merged(known: NewsQuery, query: NewsQuery, record: Record) -> NewsQuery:
    if (known.article_id, known.image_id) != (query.article_id, query.image_id):
        raise record.error(f"photo {query.query_id!r} has another article or database photo than in an earlier row")
    return replace(known, reference_captions=(*known.reference_captions, *query.reference_captions))


def _optional_id(record: Record, key: str) -> str | None:
    return None if record.text(key) == NO_ARTICLE else _hex_id(record, key)


def _hex_id(record: Record, key: str) -> str:
    value = record.text(key)
    if not _HEX_ID.fullmatch(value):
        raise record.error(
            f"key {key!r} is {value!r:.80}, not 16 lower-case hexadecimal characters; spreadsheets and type inference"
            " make numbers of such ids, so take the published file again"
        )
    return value
