"""The submission of EVENTA 2025, Track 1, on OpenEvents V1: writing it, and checking any such file offline.

`submission.zip` holds `submission.csv` and nothing else: a row per query with ten article ids, best first, and the
caption. The rules are those of the challenge's site (CodaBench 7964).
"""

from __future__ import annotations

import csv
import re
import zipfile
import zlib
from collections.abc import Container, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path

from diptych.data.annotations import first_repeated
from diptych.data.news.news_database import NO_ARTICLE
from diptych.data.news.openevents import OpenEvents
from diptych.storage.whole import write_file
from diptych.submission.verdict import Verdict

ZIP_NAME, CSV_NAME = "submission.zip", "submission.csv"
NUM_ARTICLES = 10
COLUMNS = ("query_id", *(f"article_id_{rank}" for rank in range(1, NUM_ARTICLES + 1)), "generated_caption")
MAX_CAPTION = 8_000  # characters
_CONTROLS = re.compile(r"\s*[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd]+\s*")  # line breaks, and what reading replaced
_ARTICLE_ID = re.compile(r"[^\s,\"]+")


class EVENTAFormat:
    """EVENTA's server as a `CaptionFormat`."""

    def write(
        self, folder: Path, captions: Mapping[str, str], articles: Mapping[str, Sequence[str]], query_ids: Sequence[str]
    ) -> list[Path]:
        """Write the server's ZIP, as `write_eventa`."""
        return [write_eventa(folder, captions, articles, query_ids)]

    def check(self, path: Path, source: OpenEvents, split: str) -> Verdict:
        """As `check_eventa`."""
        return check_eventa(path, source, split)


# ---------------------------------------------------------------------------------------------------- writing


def write_eventa(
    folder: Path, captions: Mapping[str, str], articles: Mapping[str, Sequence[str]], query_ids: Sequence[str]
) -> Path:
    """Write `folder/submission.zip` in one step; the same arguments give the same bytes.

    Line breaks and other control characters in captions become blanks. Ten articles are written, `#` for those that a
    query lacks; `articles` may name other queries too.

    Raises:
        ValueError: query ids repeat, or `captions` are not exactly theirs; a caption is blank, cannot be written, or
            has more than 8,000 characters; `articles` lacks a query, has one of its articles twice, or something that
            is no id. Names the query, and nothing is written.
    """
    repeated = first_repeated(query_ids)
    if repeated is not None:
        raise ValueError(f"query {repeated}: is listed twice; every query has one row")
    official = set(query_ids)
    unknown = next((query_id for query_id in captions if query_id not in official), None)
    if unknown is not None:
        raise ValueError(f"query {unknown}: has a caption, but is not on the official list of the split")
    lines = [",".join(COLUMNS)]
    for query_id in query_ids:
        caption = _one_line(query_id, captions)
        cells = _article_cells(query_id, articles)
        lines.append(",".join([query_id, *cells, '"' + caption.replace('"', '""') + '"']))
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(CSV_NAME, date_time=(1980, 1, 1, 0, 0, 0))
        entry.external_attr, entry.create_system = 0o644 << 16, 3  # the same on every system
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "\n".join(lines) + "\n")
    write_file(folder / ZIP_NAME, buffer.getvalue())
    return folder / ZIP_NAME


def _one_line(query_id: str, captions: Mapping[str, str]) -> str:
    if query_id not in captions:
        raise ValueError(f"query {query_id}: has no caption; every query of the split needs one")
    caption = _CONTROLS.sub(" ", captions[query_id]).strip()
    if not caption:
        raise ValueError(f"query {query_id}: the caption is empty, which the server refuses; generate it again")
    if len(caption) > MAX_CAPTION:
        raise ValueError(f"query {query_id}: the caption has {len(caption):,} characters; the server takes 8,000")
    try:
        caption.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"query {query_id}: the caption cannot be written as UTF-8 ({error.reason})") from None
    return caption


def _article_cells(query_id: str, articles: Mapping[str, Sequence[str]]) -> list[str]:
    if query_id not in articles:
        raise ValueError(f"query {query_id}: no articles were retrieved for it; an empty list says that there are none")
    chosen = list(articles[query_id][:NUM_ARTICLES])
    repeated = first_repeated(chosen)
    if repeated is not None:
        raise ValueError(f"query {query_id}: article {repeated!r} comes twice; keep the better place only")
    for article_id in chosen:
        if article_id == NO_ARTICLE or not _ARTICLE_ID.fullmatch(article_id):
            raise ValueError(f"query {query_id}: {article_id!r} is not an article id; leave out missing articles")
    return chosen + [NO_ARTICLE] * (NUM_ARTICLES - len(chosen))


# ---------------------------------------------------------------------------------------------------- checking


def check_eventa(path: Path, source: OpenEvents, split: str) -> Verdict:
    """Check a ZIP against the split's queries and the database; every violation is listed with its line of the CSV.

    Raises:
        ValueError: the file is not a ZIP with a `submission.csv` in UTF-8, or the queries cannot be read.
    """
    query_ids = [query.query_id for query in source.queries(split)]
    text, violations = _read_csv(path)
    unchecked, articles = [], None
    try:
        articles = source.articles()
    except ValueError as error:
        unchecked.append(f"not checked: whether the articles are in the database, as it cannot be read: {error}")
    violations += _wrong_rows(text, query_ids, articles)
    return Verdict(tuple(violations), tuple(unchecked))


def _read_csv(path: Path) -> tuple[str, list[str]]:
    """The table's text, and what is wrong with the archive around it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if CSV_NAME not in names:
                raise ValueError(f"{path} holds {', '.join(names) or 'nothing'}; it must hold {CSV_NAME}, in no folder")
            content = archive.read(CSV_NAME)
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: it wants a password
        raise ValueError(f"{path} is not a whole ZIP file ({error}); the server takes a ZIP of {CSV_NAME}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    violations = [f"{name}: the ZIP file must hold nothing but {CSV_NAME}" for name in names if name != CSV_NAME]
    if content.startswith(b"\xef\xbb\xbf"):
        violations.append("line 1: begins with a byte order mark; write UTF-8 without it")
    try:
        return content.decode("utf-8-sig"), violations
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line} of {CSV_NAME}: not UTF-8 (byte {content[error.start]:#04x})") from None


def _wrong_rows(text: str, query_ids: Sequence[str], articles: Container[str] | None) -> Iterator[str]:
    first_line: dict[str, int] = {}
    official = set(query_ids)
    rows = _split_rows(text, official)
    _, header = next(rows)
    if header.replace('"', "") != ",".join(COLUMNS):
        yield f"line 1: the header must be {','.join(COLUMNS)}, found {header!r:.200}"
    for line, raw in rows:
        query_id = _first_cell(raw)
        where = f"line {line}, query {query_id:.40}"
        if not raw.strip():
            yield f"line {line}: a blank line; the server takes none"
            continue
        if query_id not in official:
            yield f"{where}: no query of the split has this id"
        elif query_id in first_line:
            yield f"{where}: the query is on line {first_line[query_id]} already"
        first_line.setdefault(query_id, line)
        yield from (f"{where}: {fault}" for fault in _wrong_row(raw, articles))
    yield from (f"query {query_id}: missing from the file" for query_id in query_ids if query_id not in first_line)


def _split_rows(text: str, official: Container[str]) -> Iterator[tuple[int, str]]:
    """Rows with the line that each begins on. A quote that is not closed ends at the next line that begins a row."""
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    start = 0
    while start < len(lines):
        end, num_quotes = start + 1, lines[start].count('"')
        while num_quotes % 2 and end < len(lines) and _first_cell(lines[end]) not in official:
            num_quotes += lines[end].count('"')
            end += 1
        yield start + 1, "\n".join(lines[start:end])
        start = end


def _first_cell(raw: str) -> str:
    return raw.partition(",")[0].strip('"')


def _wrong_row(raw: str, articles: Container[str] | None) -> Iterator[str]:
    try:
        (cells,) = csv.reader([raw], strict=True)
    except (csv.Error, ValueError) as error:
        yield f"not valid CSV ({error}); put the caption in double quotes, and double the quotes in it"
        return
    if len(cells) != len(COLUMNS):
        yield f"{len(cells)} columns instead of {len(COLUMNS)}; a caption with a comma must stand in double quotes"
        return
    yield from _wrong_articles(cells[1:-1], articles)
    caption = cells[-1]
    if not raw.endswith(',"' + caption.replace('"', '""') + '"'):
        yield "the caption must stand in double quotes"
    if not caption.strip():
        yield "the caption is empty"
    if "\n" in caption or "\r" in caption:
        yield "the caption holds a line break; write a blank instead"
    if len(caption) > MAX_CAPTION:
        yield f"the caption has {len(caption):,} characters; the server takes 8,000"


def _wrong_articles(cells: Sequence[str], articles: Container[str] | None) -> Iterator[str]:
    seen: set[str] = set()
    for rank, article_id in enumerate(cells, start=1):
        if article_id == NO_ARTICLE:
            continue
        if not article_id.strip():
            yield f"article_id_{rank} is empty; write {NO_ARTICLE} for a missing article"
        elif article_id in seen:
            yield f"article_id_{rank} {article_id} comes twice in the row"
        elif articles is not None and article_id not in articles:
            yield f"article_id_{rank} {article_id!r:.40} is not in the database"
        seen.add(article_id)
