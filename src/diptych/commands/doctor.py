"""Is everything there and readable? Decodes every picture of a dataset once, before a long run does.

    python -m diptych.doctor data=cirr [data.root=PATH] [split=val] [output=FOLDER] [workers=N]
    python -m diptych.doctor data=openevents [database=true] ...

The verdict on a file is kept with its size and time of change, so a second look only decodes what is new, and one that
was interrupted goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from diptych.commands.doctor_contents import contents as said_of_contents
from diptych.commands.doctor_report import SplitReport, check_splits, find_and_list, print_reports
from diptych.commands.news_doctor import examine_news
from diptych.config.building import build
from diptych.contracts.news import NewsSource
from diptych.contracts.retrieval import Query, TripletSource
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.ranking.fitted_protocol import check_primary, fitted, said_of_left_out
from diptych.storage.cores import usable_cores

_WITHOUT_THEM = "or go on without them with data.images.on_missing=drop, which marks the results as partial"


def examine(
    source: TripletSource,
    splits: Sequence[str] | None = None,
    output: Path | None = None,
    workers: int | None = None,
) -> list[SplitReport]:
    """Decode every image that the splits of `source` need, and list those that cannot be used.

    Writes `<folder>/<source>/<split>.txt` (a line per file: path, tab, reason) and the kept verdicts, where folder is
    `output`, or `doctor/` in the data's root. `workers` is the number of processes, by default one per processor.

    Raises:
        ValueError: the folder cannot be written to, or a split does not exist.
    """
    check_splits(source, splits)
    workers = workers or usable_cores()
    folder = output or source.root / "doctor"
    return [_examine_split(source, split, folder, workers) for split in splits or source.splits]


def _examine_split(source: TripletSource, split: str, folder: Path, workers: int) -> SplitReport:
    try:
        images = images_needed(source, split)
        queries = source.queries(split)
        left_out = _left_out(source, split, queries)
    except ValueError as error:
        return SplitReport(source.name, split, source.docs_page, problem=str(error))
    faults, listing = find_and_list(images.values(), folder, source.name, split, workers)
    return SplitReport(
        source=source.name,
        split=split,
        docs_page=source.docs_page,
        num_records=len(queries),
        num_expected=len(images),
        faults=tuple(faults),
        notes=(*_compare_with_published(source, split, len(queries), len(images)), *([left_out] if left_out else [])),
        listing=listing,
        without_them=_WITHOUT_THEM,
    )


def _left_out(source: TripletSource, split: str, queries: Sequence[Query]) -> str:
    """What evaluating the split would leave out, in a sentence; ValueError where it could not be judged at all.
    Training data is rarely evaluated on.
    """
    if split == "train":
        return ""
    num_gallery = len(source.gallery(split))
    protocol = fitted(source.protocol(split), queries, num_gallery)
    check_primary(protocol, num_gallery)
    return said_of_left_out(protocol, num_gallery)


def images_needed(source: TripletSource, split: str) -> dict[str, Path]:
    """Every image, by id, that training on the split or evaluating it reads, in a fixed order."""
    images = {image.image_id: image.path for image in source.gallery(split)}
    named = [query.reference_image for query in source.queries(split)]
    if split == "train":
        for triplet in source.triplets(split):
            named += (triplet.target_image, *triplet.distractors)
    for image_id in named:
        if image_id not in images:
            images[image_id] = source.image_path(split, image_id)
    return images


def _compare_with_published(source: TripletSource, split: str, num_queries: int, num_images: int) -> Iterator[str]:
    published = source.published_counts.get(split)
    if published is None:
        return
    for kind, expected, found in zip(("pairs", "images"), published, (num_queries, num_images), strict=True):
        if expected != found:
            yield f"{source.name} {split}: {expected:,} {kind} expected as published, the annotations list {found:,}"


# ---------------------------------------------------------------------------------------------------- command line


def examine_data(
    config: DictConfig,
    split: str | None = None,
    output: Path | None = None,
    workers: int | None = None,
    database: bool = False,
    contents: bool | None = None,
    words: Sequence[str] = (),
) -> int:
    """Makes what can be made of the sources of a config's data, and examines them; returns 1 if anything is missing or
    unreadable, else 0. `contents` are looked into as well (see `doctor_contents`), of the user's own triplets unless it
    is said; `words` are those that name the data.

    Raises:
        ValueError: `database` is asked of data without one.
    """
    sources = {name: build(node, _convert_="all") for name, node in config.data.sources.items()}
    if database and not any(source.kind == NewsSource.kind for source in sources.values()):
        raise ValueError(f"database=true is for news: {', '.join(sources)} has no photos printed with articles")
    for source in sources.values():
        source.prepare()
    status = examine_sources(sources, [split] if split else None, output, workers, database)
    for source in sources.values():
        if source.kind != NewsSource.kind and (isinstance(source, TripletJSONL) if contents is None else contents):
            _print_contents(source, [split] if split else source.splits, workers, words)
    return status


def _print_contents(source: TripletSource, splits: Sequence[str], workers: int | None, words: Sequence[str]) -> None:
    """Nothing of splits that cannot be read: the table has said why."""
    readable = []
    for split in splits:
        with suppress(ValueError):
            source.queries(split)
            source.gallery(split)
            readable.append(split)
    paths = {name: path for split in readable for name, path in images_needed(source, split).items()}
    for line in said_of_contents(source, readable, paths, workers or usable_cores(), words):
        print(line)  # noqa: T201


def examine_sources(
    sources: Mapping[str, TripletSource | NewsSource],
    splits: Sequence[str] | None = None,
    output: Path | None = None,
    workers: int | None = None,
    decode_database: bool = False,
) -> int:
    """Examine and print; returns 1 if anything is missing or unreadable, else 0. `decode_database` is for news."""
    reports: list[SplitReport] = []
    for source in sources.values():
        if source.kind == NewsSource.kind:
            reports += examine_news(cast(NewsSource, source), splits, output, workers, decode_database)
        else:
            reports += examine(cast(TripletSource, source), splits, output, workers)
    return print_reports(reports)
