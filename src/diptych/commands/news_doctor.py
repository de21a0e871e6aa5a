"""The doctor for news: query photos, the database of articles, and the photos printed with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from diptych.commands.doctor_report import SplitReport, check_splits, find_and_list, writable, write_listing
from diptych.contracts.news import NewsSource
from diptych.data.triplets.presence import absent_files
from diptych.photos.image_faults import EMPTY, MISSING, Fault
from diptych.storage.cores import usable_cores

DATABASE = "database"  # stands beside the splits in tables and listings


def examine_news(
    source: NewsSource,
    splits: Sequence[str] | None = None,
    output: Path | None = None,
    workers: int | None = None,
    decode_database: bool = False,
) -> list[SplitReport]:
    """One report per split, whose query photos are all decoded, and one for the database, whose articles are all read.

    The photos of the database are only counted, as nothing but image retrieval needs them; with `decode_database` they
    are decoded too, and must all be there. Listings, verdicts and `workers` are as in `doctor.examine`.

    Raises:
        ValueError: the folder cannot be written to, or a split does not exist.
    """
    check_splits(source, splits)
    workers = workers or usable_cores()
    folder = output or source.root / "doctor"
    database = _examine_database(source, folder, workers, decode_database)
    reports = [
        _examine_split(source, split, folder, workers, with_notes=database.problem is None)
        for split in splits or source.splits
    ]
    return [*reports, database]


def _examine_split(source: NewsSource, split: str, folder: Path, workers: int, with_notes: bool) -> SplitReport:
    try:
        queries = source.queries(split)
        photos = [source.image_path(split, query.query_id) for query in queries]
        notes = source.notes(split) if with_notes else []
    except ValueError as error:
        return SplitReport(source.name, split, source.docs_page, problem=str(error))
    faults, listing = find_and_list(photos, folder, source.name, split, workers)
    return SplitReport(
        source=source.name,
        split=split,
        docs_page=source.docs_page,
        num_records=len(queries),
        num_expected=len(photos),
        faults=tuple(faults),
        notes=tuple(notes),
        listing=listing,
    )


def _examine_database(source: NewsSource, folder: Path, workers: int, decode: bool) -> SplitReport:
    name = source.name
    try:
        articles = source.articles()
        photos: dict[str, Path] = {}
        blank = []
        reading = track(articles, f"{name} articles", len(articles), console=Console(stderr=True), transient=True)
        for article_id in reading:
            article = articles[article_id]
            photos |= {image_id: source.database_image_path(image_id) for image_id in article.image_ids}
            if not article.text.strip():
                blank.append(article_id)
    except ValueError as error:
        return SplitReport(name, DATABASE, source.docs_page, problem=str(error))
    if decode:
        faults, listing = find_and_list(photos.values(), folder, name, DATABASE, workers)
    else:
        faults = _absent(photos)
        with writable(folder):
            listing = write_listing(folder / name / f"{DATABASE}.txt", faults)
    return SplitReport(
        source=name,
        split=DATABASE,
        docs_page=source.docs_page,
        num_records=len(articles),
        num_expected=len(photos),
        faults=tuple(faults),
        notes=tuple(_notes(name, len(articles), blank, len(photos), faults, listing, decode)),
        listing=listing,
        optional=not decode,
    )


def _absent(photos: dict[str, Path]) -> list[Fault]:
    reasons = absent_files(photos)
    return [
        Fault(photos[image_id], EMPTY if photos[image_id].exists() else MISSING, reason)
        for image_id, reason in reasons.items()
    ]


def _notes(
    name: str,
    num_articles: int,
    blank: Sequence[str],
    num_photos: int,
    faults: Sequence[Fault],
    listing: Path | None,
    decoded: bool,
) -> list[str]:
    notes = []
    if blank:
        notes.append(f"{name} {DATABASE}: {len(blank):,} of {num_articles:,} articles have no text, first {blank[0]}")
    if not decoded:
        notes.append(f"{name} {DATABASE}: photos were counted, not decoded; database=true decodes them")
    if faults and not decoded:
        notes.append(
            f"{name} {DATABASE}: {len(faults):,} of {num_photos:,} photos are absent ({listing}); only image retrieval"
            " needs them"
        )
    return notes
