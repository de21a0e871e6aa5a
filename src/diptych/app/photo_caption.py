"""What a page of captions asks of a model: the caption of one photo, with its names checked, and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diptych.api.captioner import GAPS, Captioner, FusedCaption, as_article
from diptych.data.news.article_file import read_article
from diptych.report.caption_cards import CaptionCard, EntitySpan


@dataclass(frozen=True, slots=True)
class CaptionedPhoto:
    """A caption with its evidence, as reports of captions show it, and what is to be said of it."""

    card: CaptionCard
    notes: tuple[str, ...]


def caption_photo(
    captioner: Captioner, photo: Path | None, text: str, file: Path | None, title: str, date: str, base_caption: str
) -> CaptionedPhoto:
    """The caption of a photo and the article of that text or file; without either, of the photo alone.

    Raises:
        ValueError: there is no photo, or two articles, or a title without any; or as `read_article` and
            `Captioner.caption`.
    """
    if photo is None:
        raise ValueError("Drop a photo first.")
    article = as_article(_article(text, file, title.strip(), date.strip()))
    written = captioner.caption(photo, article, base_caption.strip())
    spans, unchecked = _checked(captioner, written)
    card = CaptionCard(
        query_id=photo.stem,
        image_path=photo,
        fused_caption=written.text,
        base_caption=written.base_caption,
        article=article,
        evidence=written.evidence,
        entities=spans,
        stop_reason=written.stop_reason,
        prompt_tokens=written.prompt_tokens,
    )
    notes = [*unchecked, *(_sentence(GAPS.get(gap, gap)) for gap in written.gaps)]
    if written.stop_reason == "max_new_tokens":
        notes.append("The caption was cut off at the most tokens that the checkpoint's settings allow.")
    if not unchecked and not spans and written.text.strip():
        notes.append("No name, date or number was found in the caption.")
    return CaptionedPhoto(card, tuple(notes))


def _article(text: str, file: Path | None, title: str, date: str) -> Mapping[str, str] | None:
    if text.strip() and file is not None:
        raise ValueError("There are two articles, a text and a file: take one away.")
    if file is not None:
        return _read(file, title, date)
    if not text.strip():
        if title or date:
            raise ValueError("A title and a date are of an article: type its text, or drop its file.")
        return None
    return {"text": text, "title": title, "date": date}


def _read(file: Path, title: str, date: str) -> Mapping[str, str]:
    try:
        return read_article(file, title, date)
    except ValueError as error:
        raise ValueError(str(error).replace(str(file), file.name)) from None  # the page has its own copy


def _checked(captioner: Captioner, written: FusedCaption) -> tuple[tuple[EntitySpan, ...], list[str]]:
    """The names of a caption, or none and why they cannot be looked up here."""
    try:
        claims = captioner.claims(written)
    except ValueError as error:
        return (), [f"Names were not looked up: {error}"]
    return tuple(
        EntitySpan(claim.start, claim.end, "number" if claim.is_quantity else "name", claim.supported)
        for claim in claims
    ), []


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
