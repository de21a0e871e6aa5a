"""Rooms as a triplet source: Hotel-CIR's reader over the generated set, which is made on first use."""

from __future__ import annotations

from pathlib import Path

from diptych.data.hotel_cir import HotelCIR
from diptych.data.rooms.generate import generate_rooms, is_complete


class Rooms(HotelCIR):
    """The generated hotel rooms in Hotel-CIR's layout and protocol; `prepare` makes them where they are missing."""

    name = "rooms"
    docs_page = "docs/rooms.md"

    def __init__(
        self,
        root: str | Path,
        seed: int = 0,
        num_train_hotels: int = 400,
        num_val_hotels: int = 40,
        num_test_hotels: int = 40,
        exclude_reference: bool = False,
        use_distractors: bool = False,
    ) -> None:
        super().__init__(root, exclude_reference, use_distractors)
        self._seed, self._sizes = seed, (num_train_hotels, num_val_hotels, num_test_hotels)

    def prepare(self) -> None:
        """Generates the set (half a minute at full size) unless it is there, complete."""
        if not is_complete(self.root):
            generate_rooms(self.root, self._seed, *self._sizes)
