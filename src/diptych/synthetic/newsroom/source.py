"""Newsroom as a source of news photos: OpenEvents' reader over the generated set, which is made on first use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from diptych.data.news.openevents import OpenEvents
from diptych.synthetic.newsroom import layout
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom


class Newsroom(OpenEvents):
    """The generated news events in OpenEvents' layout; unlike there, `val` and `test` have their answers."""

    name = "newsroom"
    docs_page = "docs/newsroom.md"
    published_counts: Mapping[str, int] = MappingProxyType({})

    def __init__(self, root: str | Path, settings: NewsroomSettings | None = None) -> None:
        folders = {"database": layout.DATABASE_IMAGES, **layout.QUERY_IMAGES}
        super().__init__(root, files={"database": layout.DATABASE, **layout.ANSWERS}, image_folders=folders)
        self._settings = settings or NewsroomSettings()

    def prepare(self) -> None:
        """Generates the set (half a minute at full size, with a progress bar) unless it is there, complete."""
        generate_newsroom(self.root, self._settings, show_progress=True)
