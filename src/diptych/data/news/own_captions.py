"""Your own news photos: one table of photos, articles and captions. docs/own_captions.md is its page."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from diptych.contracts.news import NewsQuery, NewsSource
from diptych.contracts.retrieval import GalleryImage
from diptych.data.annotations import Record, check_split, resolve_inside
from diptych.data.local_paths import local_path
from diptych.data.news.own_articles import OwnArticles
from diptych.data.splits import SPLIT, counted, drawn_apart, split_of
from diptych.data.tables import SEPARATORS, line_records, table_rows
from diptych.storage.presence import require_folder
from diptych.storage.relative_paths import safe_relative

log = logging.getLogger(__name__)

COLUMNS = {
    "photo": ("photo", "image"),
    "article": ("article",),
    "article_file": ("article_file",),
    "caption": ("caption", "captions"),
    "title": ("title",),
    "date": ("date",),
    "base_caption": ("base_caption",),
    "id": ("id", "query_id"),
    SPLIT: (SPLIT,),
}
NEEDED = ("photo",)
_LEAST = 2  # photos of a drawn split: CIDEr of one is not defined


@dataclass(frozen=True, slots=True)
class _Photo:
    """What the rows of one photo say; `path` is relative to the table."""

    where: str
    path: str
    query: NewsQuery
    base_caption: str
    split: str  # empty where it names none


class OwnCaptions(NewsSource):
    """The photos of one table, CSV, TSV or JSON lines, as a `NewsSource`. Construction reads nothing.

    A photo is known by its id, or else by its path, and several rows of one are its several captions. A row's article
    is its evidence: `evaluation_source=annotated`. Rows say their split, or none does, and they are drawn
    (`drawn_apart`): rows that share an article or a photo are in one split. Where there is neither a caption nor a
    split, all are `test`, to be captioned.

    There are no other photos printed with the articles: nothing from which articles could be retrieved by pictures.
    """

    name = "own_captions"
    docs_page = "docs/own_captions.md"
    splits = ("train", "val", "test")

    def __init__(self, root: str | Path, table: str = "captions.csv") -> None:
        self.root = Path(root)
        self._table = safe_relative(table)
        self._articles: OwnArticles | None = None
        self._photos: dict[str, dict[str, _Photo]] = {}
        self._drawn = ""
        self._said = False

    @property
    def _path(self) -> Path:
        return self.root / self._table

    def articles(self, show_progress: bool = True) -> OwnArticles:
        """The articles that the table names.

        Raises:
            ValueError: as `queries`, or the file of an article is not there.
        """
        articles, _ = self._read()
        articles.require_files()
        return articles

    def article_files(self) -> Sequence[Path]:
        """The files that articles are read from, where the table does not hold them."""
        return self._read()[0].files

    def queries(self, split: str) -> list[NewsQuery]:
        """The photos to caption, in the order of the table.

        Raises:
            ValueError: the table is absent or breaks its form (names line and key), rows of one photo disagree, no row
                is of the split, or of its photos some have captions and some have none.
        """
        return [photo.query for photo in self._of_split(split).values()]

    def base_captions(self, split: str) -> Mapping[str, str]:
        """What the column `base_caption` says of the photos; empty, which is said once, where no row has any."""
        found = {name: photo.base_caption for name, photo in self._of_split(split).items() if photo.base_caption}
        if not self._said and not any(photo.base_caption for part in self._photos.values() for photo in part.values()):
            self._said = True
            log.warning(
                "%s: no base captions, so prompts do not say what the photos show; the column base_caption has them,"
                " or a file, data.base_captions=FILE",
                self._path,
            )
        return found

    def answers_hidden(self, split: str) -> bool:
        """Whether the split has no captions yet."""
        return not self.queries(split)[0].reference_captions

    def image_path(self, split: str, query_id: str) -> Path:
        """The file of a photo, always inside the folder of the table. It need not exist."""
        return resolve_inside(self._path.parent, self._of_split(split)[query_id].path)

    def database_image_path(self, image_id: str) -> Path:
        """There is none: ValueError."""
        raise ValueError(self._no_gallery())

    def gallery(self) -> Iterable[GalleryImage]:
        """There is none: ValueError."""
        raise ValueError(self._no_gallery())

    def notes(self, split: str) -> list[str]:
        """What was understood of the table, and what its photos lack."""
        photos = self._of_split(split).values()
        article_ids = [photo.query.article_id for photo in photos]
        captions = sum(len(photo.query.reference_captions) for photo in photos)
        about = f"{len(photos):,} photos, {captions:,} captions, {len(set(article_ids) - {None}):,} articles"
        notes = [f"{self.name} {split}: {about}{self._drawn}"]
        if split != "train" and captions and len(photos) < _LEAST:
            notes.append(f"{self.name} {split}: one photo has no CIDEr, which weighs words by other photos' captions")
        for lacking, meaning in (
            ([name for name, one in self._of_split(split).items() if one.query.article_id is None], "article"),
            ([name for name, one in self._of_split(split).items() if not one.base_caption], "base caption"),
        ):
            if lacking:
                notes.append(f"{self.name} {split}: {len(lacking):,} photos have no {meaning}, first {lacking[0]}")
        return notes

    def _no_gallery(self) -> str:
        return (
            f"{self._path} names no photos printed with articles beside those that are captioned, of which each would"
            f" find itself: articles cannot be retrieved by pictures here ({self.docs_page})"
        )

    # ------------------------------------------------------------------------------------------------ reading

    def _of_split(self, split: str) -> dict[str, _Photo]:
        check_split(split, self.splits, self.name)
        _, photos = self._read()
        if split not in photos:
            raise ValueError(f"{self._path}: no row is of the split {split!r}; there are {', '.join(photos)}")
        return photos[split]

    def _read(self) -> tuple[OwnArticles, dict[str, dict[str, _Photo]]]:
        if self._articles is None:
            require_folder(self.root, self.name, self.docs_page)
            articles = OwnArticles(self._path)
            records = _records_of(self._path, self.docs_page)
            if any(SPLIT in record for record in records):
                for record in records:
                    split_of(record, self.splits)
            joined: dict[str, _Photo] = {}
            for row in (_photo_of(record, articles) for record in records):
                known = joined.get(row.query.query_id)
                joined[row.query.query_id] = row if known is None else _joined(known, row)
            for split, photo in zip(self._splits(list(joined.values())), joined.values(), strict=True):
                self._photos.setdefault(split, {})[photo.query.query_id] = photo
            for split, photos in self._photos.items():
                _check_hidden(photos.values(), f"{self._path}, split {split}")
            self._articles = articles
        return self._articles, self._photos

    def _splits(self, photos: Sequence[_Photo]) -> list[str]:
        """The split of each photo: that which it names, or that is drawn."""
        if photos[0].split:
            return [photo.split for photo in photos]
        if not any(photo.query.reference_captions for photo in photos):
            log.info("%s: no captions, and no row names a split: all photos are of test, to be captioned", self._path)
            return ["test"] * len(photos)
        _check_hidden(photos, f"{self._path}, without a column of splits")
        splits, apart = drawn_apart(
            [list(_names(photo)) for photo in photos], [_text(photo) for photo in photos], _LEAST
        )
        if not apart:
            raise ValueError(
                f"{self._path}: no row names a split, and the articles are too few for splits of which no two share"
                " one; name the splits yourself, train, val or test, in a column or key 'split'"
            )
        self._drawn = " (splits were drawn, no article or photo is in two)"
        log.info("%s: no row names a split; drawn: %s", self._path, counted(splits))
        return splits


def _records_of(path: Path, docs_page: str) -> list[Record]:
    if path.suffix.lower() not in SEPARATORS:
        records = line_records(path, docs_page, COLUMNS)
    else:
        records = table_rows(path, docs_page, COLUMNS, NEEDED)
    if not any("article" in record or "article_file" in record for record in records):
        raise ValueError(f"{path}: no row has an article; captions need one, in 'article', or a file in 'article_file'")
    return records


def _photo_of(record: Record, articles: OwnArticles) -> _Photo:
    path = local_path(record, "photo", record.name("photo"))
    query = NewsQuery(
        query_id=_id(record) if "id" in record else path,
        reference_captions=record.wordings("caption") if "caption" in record else (),
        article_id=articles.add(record),
    )
    base_caption = record.text("base_caption").strip() if "base_caption" in record else ""
    return _Photo(record.where, path, query, base_caption, record.text(SPLIT) if SPLIT in record else "")


def _id(record: Record) -> str:
    return str(record.integer("id")) if isinstance(record.data["id"], int) else record.name("id")


def _joined(known: _Photo, row: _Photo) -> _Photo:
    """The photo with a further row of it."""
    for name, own, earlier in (
        ("photo", row.path, known.path),
        ("article", row.query.article_id, known.query.article_id),
        ("split", row.split, known.split),
        ("base caption", row.base_caption, known.base_caption),
    ):
        if own and earlier and own != earlier:
            raise ValueError(
                f"{row.where}: {row.query.query_id!r} has another {name} than in an earlier row, {known.where}"
            )
    query = replace(
        known.query,
        reference_captions=(*known.query.reference_captions, *row.query.reference_captions),
        article_id=known.query.article_id or row.query.article_id,
    )
    return replace(known, query=query, base_caption=known.base_caption or row.base_caption)


def _check_hidden(photos: Iterable[_Photo], where: str) -> None:
    hidden = [photo for photo in photos if not photo.query.reference_captions]
    if hidden and len(hidden) < len(list(photos)):
        raise ValueError(
            f"{where}: {len(hidden)} photos have no caption, first {hidden[0].path} ({hidden[0].where}); in a split all"
            " have one, or none has"
        )


def _names(photo: _Photo) -> Iterator[tuple[str, str]]:
    yield "photo", photo.path
    if photo.query.article_id is not None:
        yield "article", photo.query.article_id


def _text(photo: _Photo) -> str:
    return "\n".join((photo.query.query_id, *photo.query.reference_captions))
