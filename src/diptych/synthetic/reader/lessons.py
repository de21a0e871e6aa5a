"""The rooms that a reader learns from: hotels of its own, which are in no rooms set, drawn once and kept.

Their random numbers come from a sequence that no set uses, so that the reader has seen neither the train nor the val
nor the test hotels of any set, whatever its seed. They are drawn as a set's train hotels are.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.storage.arrays import map_array
from diptych.storage.json_files import write_json
from diptych.synthetic.generated_folder import generate_folder
from diptych.synthetic.photographs import encode_jpeg
from diptych.synthetic.reader.fields import FIELDS, states_of
from diptych.synthetic.reader.networks import SIDE
from diptych.synthetic.rooms.drawing import draw_room, sample_photograph
from diptych.synthetic.rooms.generate import ROOMS as WORLD
from diptych.synthetic.rooms.scene import KINDS, sample_hotel
from diptych.synthetic.triplet_sets import IMAGE_SIZE

log = logging.getLogger(__name__)

ROOMS = 8  # of a hotel
_REPORTED = 150  # hotels
_OWN = 0x52454144  # the first word of the seeds, before the hotel's number; a set's is the seed that people choose
Lessons = tuple[NDArray[np.uint8], NDArray[np.int64]]
_PICTURES, _STATES, _MANIFEST = "pictures.npy", "states.npy", "lessons.json"


def lessons(folder: Path, num_hotels: int) -> Lessons:
    """Pictures (hotels, rooms, 3, side, side) and the places of their fields' values (hotels, rooms, fields), from
    `folder`, where they are drawn on first use.

    Raises:
        ValueError: the folder holds anything else, or is damaged.
    """
    manifest = {"rooms_version": WORLD.version, "num_hotels": num_hotels, "side": SIDE}

    def write(partial: Path) -> None:
        drawn = []
        for number in range(num_hotels):
            if number % _REPORTED == 0:
                log.info("drawing hotels for the reader to learn from: %d of %d", number, num_hotels)
            drawn.append(_draw(number))
        np.save(partial / _PICTURES, np.stack([pictures for pictures, _ in drawn]))
        np.save(partial / _STATES, np.array([states for _, states in drawn]))
        write_json(partial / _MANIFEST, manifest)

    generate_folder(folder, "lessons", _MANIFEST, manifest, write)
    shape = (num_hotels, ROOMS, 3, SIDE, SIDE)
    pictures = map_array(folder / _PICTURES, shape, "uint8")
    return pictures, map_array(folder / _STATES, (num_hotels, ROOMS, len(FIELDS)), "int64")


def _draw(number: int) -> tuple[NDArray[np.uint8], list[list[int]]]:
    """The pictures of all rooms of a hotel, and their states."""
    rng = np.random.default_rng(np.random.SeedSequence([_OWN, number]))
    rooms = sample_hotel(rng).scenes
    jpegs = [encode_jpeg(draw_room(room, sample_photograph(room.style, rng), IMAGE_SIZE)) for room in rooms]
    pictures = [seen(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs]
    return np.stack(pictures), [states_of({name: room.item(name) for name in KINDS}) for room in rooms]


def seen(picture: Image.Image) -> NDArray[np.uint8]:
    """(3, side, side): a picture as a reader sees it."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).transpose(2, 0, 1)
