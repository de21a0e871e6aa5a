"""Write the rooms set to disk: hotels of eight rooms, in the layout of `triplet_sets`.

python -m diptych.synthetic.rooms.generate out=OUT seed=0     # the whole set: about 6,000 + 500 + 500 triplets
python -m diptych.synthetic.rooms.generate sheet=docs/images/rooms.png    # a contact sheet instead
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from diptych.config.arguments import run
from diptych.synthetic.canvas import Array
from diptych.synthetic.command_line import run_generator
from diptych.synthetic.rooms.drawing import draw_room, sample_photograph
from diptych.synthetic.rooms.language import describe_changes
from diptych.synthetic.rooms.scene import sample_hotel, scene_from_json
from diptych.synthetic.triplet_sets import TripletSetSettings, World, draw_contact_sheet, generate_set

ROOMS = World(
    "rooms", "hotel", "room", 4, sample_hotel, describe_changes, sample_photograph, draw_room, scene_from_json
)


@dataclass(frozen=True, slots=True)
class RoomsSettings(TripletSetSettings):
    """What decides the bytes of the set."""

    world: ClassVar[World] = ROOMS
    seed: int = 0
    num_train_hotels: int = 1500
    num_val_hotels: int = 84
    num_test_hotels: int = 84
    triplets_per_train_hotel: int = 4
    triplets_per_eval_hotel: int = 6


def generate_rooms(
    root: Path, settings: RoomsSettings | None = None, num_workers: int | None = None, show_progress: bool = False
) -> Path:
    """As `generate_set`, with the default settings unless others are given."""
    return generate_set(root, settings or RoomsSettings(), num_workers, show_progress)


def draw_sheet(seed: int, num_hotels: int = 4, num_rooms: int = 6) -> Array:
    """The contact sheet of a set: a row for each of the first training hotels."""
    return draw_contact_sheet(RoomsSettings(seed=seed), num_hotels, num_rooms)


_DEFAULTS = RoomsSettings()


def command(
    *,
    out: Annotated[Path | None, "the folder to write the set into"] = None,
    sheet: Annotated[Path | None, "a PNG file for a contact sheet"] = None,
    workers: Annotated[int | None, "processes; one a processor unless given"] = None,
    seed: Annotated[int, "of all random numbers"] = 0,
    num_train_hotels: Annotated[int, "hotels to train on"] = _DEFAULTS.num_train_hotels,
    num_val_hotels: Annotated[int, "hotels to validate with"] = _DEFAULTS.num_val_hotels,
    num_test_hotels: Annotated[int, "hotels to test with"] = _DEFAULTS.num_test_hotels,
    triplets_per_train_hotel: Annotated[int, "of each hotel to train on"] = _DEFAULTS.triplets_per_train_hotel,
    triplets_per_eval_hotel: Annotated[int, "of each other hotel"] = _DEFAULTS.triplets_per_eval_hotel,
) -> None:
    """Draws the rooms set in Hotel-CIR's layout, or a contact sheet of it, or both."""
    settings = RoomsSettings(
        seed, num_train_hotels, num_val_hotels, num_test_hotels, triplets_per_train_hotel, triplets_per_eval_hotel
    )
    run_generator("rooms", out, sheet, workers, settings, generate_rooms, draw_sheet)


if __name__ == "__main__":
    sys.exit(run(command, "python -m diptych.synthetic.rooms.generate", sys.argv[1:]))
