"""What `diptych caption` does: one photo and its article to a caption, with what it was written from."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from diptych.api.captioner import GAPS, Captioner, FusedCaption, load_captioner
from diptych.data.news.article_file import read_article
from diptych.storage.json_files import write_json
from diptych.text.printable import printable

_WIDTH = 100


def caption_photo(
    checkpoint: Path,
    photo: Path,
    article: Path | None,
    title: str,
    date: str,
    base_caption: str,
    out: Path | None,
    device: str | None,
) -> str:
    """Captions the photo; writes all of it to `out`, if that is given; returns what is printed.

    Raises:
        ValueError: the article is no text, or as `load_captioner` and `Captioner.caption`.
    """
    parts = None if article is None else read_article(article, title, date)
    captioner = load_captioner(checkpoint, device)
    written = captioner.caption(photo, parts, base_caption)
    unsupported, unchecked = _unsupported(captioner, written)
    if out is not None:
        write_json(out, _record(written, unsupported))
    lines = [written.text or "(an empty caption)", "", *_of_evidence(written)]
    if unsupported is None:
        lines.append(f"names were not looked up: {unchecked}")
    else:
        lines.append(f"not stated there: {', '.join(unsupported) or 'nothing'}")
    lines += [f"note: {GAPS.get(gap, gap)}" for gap in written.gaps]
    if written.stop_reason == "max_new_tokens":
        lines.append("note: the caption was cut off at the most tokens that the checkpoint's settings allow")
    lines += [f"all of it: {out}"] if out is not None else []
    return printable("\n".join(lines) + "\n")


def _unsupported(captioner: Captioner, written: FusedCaption) -> tuple[list[str] | None, str]:
    """What the evidence does not state, or None and why that cannot be said here."""
    try:
        return captioner.unsupported(written), ""
    except ValueError as error:
        return None, str(error)


def _of_evidence(written: FusedCaption) -> list[str]:
    lines = ["written from:"]
    lines += [f"  title: {written.article_title}"] if written.article_title else []
    for chunk in written.chunks:
        lines += textwrap.wrap(chunk, _WIDTH, initial_indent="  - ", subsequent_indent="    ")
    lines += [f"  photo: {written.base_caption}"] if written.base_caption else []
    return lines if len(lines) > 1 else ["written from nothing"]


def _record(written: FusedCaption, unsupported: list[str] | None) -> dict[str, Any]:
    return {
        "caption": written.text,
        "stop_reason": written.stop_reason,
        "title": written.article_title,
        "chunks": list(written.chunks),
        "base_caption": written.base_caption,
        "unsupported": unsupported,
        "gaps": list(written.gaps),
        "prompt_tokens": written.prompt_tokens,
        "completion_tokens": written.completion_tokens,
    }
