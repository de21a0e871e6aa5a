"""Tiny trained systems, as `train.py` leaves them, and pictures to search."""

import pytest
from PIL import Image

from trained_runs import good4cir_run, newsroom_run, rooms_run, work  # noqa: F401 - fixtures

COLOURS = ("red", "green", "blue", "white", "black", "yellow", "purple", "orange", "pink", "brown", "grey", "navy")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with a picture of each colour, called after it."""
    folder = tmp_path_factory.mktemp("photos")
    for colour in COLOURS:
        Image.new("RGB", (40, 30), colour).save(folder / f"{colour}.png")
    return folder
