"""The market as a triplet source: Hotel-CIR's reader over the generated set, which is made on first use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.synthetic.market.generate import MarketSettings, generate_market


class Market(HotelCIR):
    """The generated market stalls in Hotel-CIR's layout and protocol; `settings` decide what is generated."""

    name = "market"
    docs_page = "docs/market.md"
    writes: ClassVar[Mapping[str, str]] = {"root": "*"}  # it is made where there is nothing

    def __init__(
        self,
        root: str | Path,
        settings: MarketSettings | None = None,
        exclude_reference: bool = False,
        use_distractors: bool = False,
    ) -> None:
        super().__init__(root, exclude_reference, use_distractors)
        self._settings = settings or MarketSettings()

    def prepare(self) -> None:
        """Generates the set (at full size as long as rooms take, with a progress bar) unless it is there, complete."""
        generate_market(self.root, self._settings, show_progress=True)
