"""The report as one picture, for a README or a slide: a row per query with its reference, text, results and target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from diptych.report.cards import QueryCard, Tile, shown_frames
from diptych.report.pictures import Thumbnails
from diptych.results.results_table import (
    format_interval,
    format_value,
    metric_rows,
    protocol_line,
    title_line,
    variants,
)
from diptych.storage.whole import whole_file

NUM_RESULTS = 6

_TILE, _FRAME, _GAP, _MARGIN, _TEXT_WIDTH, _CAPTION = 150, 5, 10, 24, 270, 20
_ROW = _TILE + _CAPTION + 14
_WIDTH = 2 * _MARGIN + (NUM_RESULTS + 2) * (_TILE + _GAP) + _TEXT_WIDTH + 3 * _GAP
_MOST_CHARACTERS = 1000
_QUALITY = 85  # of JPEG, with colours at full size: frames and small letters stay sharp
_NO_INK = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # controls, separators of lines, halves of pairs
_INK, _SOFT, _PAPER, _EMPTY = "#1c2430", "#5b6675", "#ffffff", "#dfe3e9"
_COLOURS = {"reference": "#2563eb", "target": "#15a34a", "relevant": "#8fd3a8", "was-reference": "#8b95a3"}


def draw_sheet(
    result: Mapping[str, Any], groups: Sequence[tuple[str, Sequence[QueryCard]]], thumbnails: Thumbnails
) -> Image.Image:
    """Draws the cards of an evaluation under their groups' headings, below a title and the headline numbers."""
    answered = any(card.target is not None for _, cards in groups for card in cards)
    title = f"{title_line(result)} · {protocol_line(result)}"
    return draw_rows(title, headline(result), groups, shown_frames(answered), thumbnails)


def draw_rows(
    title: str,
    lead: str,
    groups: Sequence[tuple[str, Sequence[QueryCard]]],
    frames: Mapping[str, str],
    thumbnails: Thumbnails,
) -> Image.Image:
    """Draws the cards, a row each, under their groups' headings, below `title`, `lead` and what the `frames` mean."""
    groups = [(heading, cards) for heading, cards in groups if cards]
    height = 130 + sum(36 + len(cards) * _ROW for _, cards in groups) + _MARGIN
    sheet = Image.new("RGB", (_WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for y, line, font in ((20, title, _font(26, bold=True)), (58, lead, _font(17))):
        draw.text((_MARGIN, y), _fit(line, font, _WIDTH - 2 * _MARGIN), fill=_INK, font=font)
    _legend(draw, 92, frames)
    y = 130
    for heading, cards in groups:
        draw.text((_MARGIN, y + 6), _drawable(heading), fill=_INK, font=_font(17, bold=True))
        y += 36
        for card in cards:
            _row(sheet, draw, card, y, thumbnails)
            y += _ROW
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Writes it whole, as a JPEG: a tenth of the size that it has without loss."""
    with whole_file(path) as temporary:
        sheet.save(temporary, "JPEG", quality=_QUALITY, optimize=True, subsampling=0)


def headline(result: Mapping[str, Any]) -> str:
    """The primary metric with interval and baselines, and how much was scored, in one line."""
    rows = [row for row in metric_rows(result) if row.aspect is None and row.set_name is None]
    primary = result["protocol"].get("primary_metric")
    size = result["gallery"]["size"]  # None: a prediction file was scored without the list of the gallery
    gallery = f"{result['queries']['scored']:,} queries, {'?' if size is None else f'{size:,}'} gallery images"
    row = next((row for row in rows if row.metric == primary), rows[0] if rows else None)
    if row is None:
        return gallery
    numbers = []
    for name in variants([row]):
        if name in row.cells:
            value, interval = (
                format_value(row.meaning, row.cells[name].value),
                format_interval(row.meaning, row.cells[name].interval),
            )
            numbers.append(f"{name.replace('_', ' ')} {value} {interval}".strip())
    unit = " in %" if row.meaning.unit == "fraction" else ""
    return f"{row.metric}{unit}: {', '.join(numbers)} · {gallery}"


def _row(sheet: Image.Image, draw: ImageDraw.ImageDraw, card: QueryCard, y: int, thumbnails: Thumbnails) -> None:
    answered = card.target is not None
    x = _MARGIN
    _tile(sheet, draw, card.reference, (x, y), _COLOURS["reference"], "reference", thumbnails)
    x += _TILE + _GAP
    text_font, small = _font(15), _font(12)
    lines = wrap_text(card.text, text_font, _TEXT_WIDTH - 2 * _GAP, max_lines=7)
    draw.multiline_text((x + _GAP, y + 2), "\n".join(lines), fill=_INK, font=text_font, spacing=3)
    draw.text((x + _GAP, y + _TILE - 16), _fit(card.rank_text, small, _TEXT_WIDTH - 2 * _GAP), fill=_SOFT, font=small)
    x += _TEXT_WIDTH + _GAP
    for tile in card.results[:NUM_RESULTS]:
        role = {"reference": "was-reference"}.get(tile.role, tile.role)
        _tile(sheet, draw, tile, (x, y), _COLOURS.get(role) if answered else None, str(tile.position), thumbnails)
        x += _TILE + _GAP
    if card.target is not None:
        x = _WIDTH - _MARGIN - _TILE
        draw.line((x - 2 * _GAP, y, x - 2 * _GAP, y + _TILE), fill=_EMPTY, width=2)
        _tile(sheet, draw, card.target, (x, y), _COLOURS["target"], "target", thumbnails)


def _tile(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    tile: Tile,
    corner: tuple[int, int],
    frame: str | None,
    caption: str,
    thumbnails: Thumbnails,
) -> None:
    """A square with the picture in its middle, framed inside its own edge, and a caption below."""
    x, y = corner
    small, inner = _font(12), _TILE - 2 * _FRAME
    draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), fill=_EMPTY)
    image = thumbnails.load(tile.path)
    if image is None:
        name = tile.path.name if tile.path is not None else tile.image_id
        lines = wrap_text(name, small, inner - 8, max_lines=7)
        draw.multiline_text(
            (x + _TILE / 2, y + _TILE / 2), "\n".join(lines), fill=_SOFT, font=small, anchor="mm", align="center"
        )
    else:
        scale = inner / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        fitted = image.resize(size, Image.Resampling.BICUBIC)
        sheet.paste(fitted, (x + (_TILE - size[0]) // 2, y + (_TILE - size[1]) // 2))
    if frame is not None:
        draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), outline=frame, width=_FRAME)
    draw.text((x + _TILE / 2, y + _TILE + 3), caption, fill=_SOFT, font=small, anchor="ma")


def _legend(draw: ImageDraw.ImageDraw, y: int, names: Mapping[str, str]) -> None:
    x = _MARGIN
    for role, name in names.items():
        draw.rectangle((x, y, x + 18, y + 18), outline=_COLOURS[role], width=_FRAME)
        draw.text((x + 26, y + 1), name, fill=_SOFT, font=_font(14))
        x += 26 + int(_font(14).getlength(name)) + 28


def wrap_text(text: str, font: ImageFont.FreeTypeFont, width: float, max_lines: int) -> list[str]:
    """Breaks a text into at most `max_lines` lines of at most `width` pixels; a cut text ends in an ellipsis.

    Breaks between words, and inside a word that is wider than the line (file names).
    """
    lines, line = [], ""
    for word in _drawable(text).split():
        candidate = f"{line} {word}".strip()
        if font.getlength(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        while font.getlength(word) > width:
            head = _longest_prefix(word, font, width)
            lines.append(head)
            word = word[len(head) :]
        line = word
    if line:
        lines.append(line)
    if len(lines) > max_lines:
        lines = [*lines[: max_lines - 1], _fit(f"{lines[max_lines - 1]} …", font, width)]
    return lines


def _fit(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    text = _drawable(text)
    if font.getlength(text) <= width:
        return text
    return _longest_prefix(text, font, width - font.getlength("…")).rstrip() + "…"


def _drawable(text: str) -> str:
    """On one line, without what the text layout fails on, and no longer than any place on the sheet has room for."""
    return _NO_INK.sub(" ", text[:_MOST_CHARACTERS])


def _longest_prefix(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """At least one character, so that wrapping always advances."""
    end = 1
    while end < len(text) and font.getlength(text[: end + 1]) <= width:
        end += 1
    return text[:end]


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same glyphs on every machine, for most of the world's alphabets."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)
