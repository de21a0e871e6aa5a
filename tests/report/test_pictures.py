"""The pictures of a report."""

import numpy as np
from PIL import Image

from diptych.report.pictures import THUMBNAIL_SIZE, Thumbnails


def test_thumbnails_are_small_upright_and_rgb(tmp_path):
    pixels = np.zeros((400, 600, 3), dtype=np.uint8)
    pixels[:, :300] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees: the left half is up
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = Thumbnails().load(tmp_path / "turned.jpg")
    assert image.size == (round(THUMBNAIL_SIZE * 400 / 600), THUMBNAIL_SIZE)
    assert image.getpixel((50, 20))[0] > 240
    assert image.getpixel((50, 140))[0] < 15
    deep = np.full((8, 8), 128 * 256, dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert Thumbnails().load(tmp_path / "deep.png").getpixel((4, 4)) == (128, 128, 128)
