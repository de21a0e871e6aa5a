"""The parts of the page as HTML: everything in them that comes from files or people is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from diptych.app.photo_caption import CaptionedPhoto
from diptych.app.picture_search import Found
from diptych.app.session import Round, Session
from diptych.contracts.retrieval import GalleryImage
from diptych.report.pictures import Thumbnails
from diptych.report.rendering import environment

_SMALL, _LARGE = 240, 480  # pixels of the longest side
_KEPT = 2048


def style_sheet() -> str:
    """How all of them look."""
    return environment().from_string('{{ file("app.css") }}').render()


def message(text: str, is_error: bool = False) -> str:
    """A sentence to whoever looks at the page; nothing of an empty one."""
    return _part("message", text, is_error)


def asked(session: Session) -> str:
    """The picture that the next round starts from."""
    return _part("asked", session, _large)


def photo(path: Path, name: str) -> str:
    """A photo that was dropped, under its name."""
    return _part("photo", path, name, _large)


def gallery(images: Sequence[GalleryImage], number: int, total: int) -> str:
    """Some images to choose from, of `number` with the wanted name, of `total`."""
    return _part("gallery", images, number, total, _small)


def history(rounds: Sequence[Round]) -> str:
    """The rounds so far; nothing without any."""
    return _part("history", rounds, _small)


def results(answers: Sequence[Found]) -> str:
    """What each model found, side by side."""
    return _part("results", answers, _small)


def caption(captioned: CaptionedPhoto) -> str:
    """A caption with its names marked, and what it was written from."""
    return _part("caption", captioned)


def _part(name: str, *values: Any) -> str:
    return str(getattr(environment().get_template("app_parts.html.jinja").module, name)(*values)).strip()


@lru_cache(_KEPT)
def _small(path: Path) -> str | None:
    return Thumbnails(_SMALL).data_uri(path)


@lru_cache(64)
def _large(path: Path) -> str | None:
    return Thumbnails(_LARGE).data_uri(path)
