"""Pictures that are there twice."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from diptych.photos.alike import Alike, find_alike, groups_of


@pytest.fixture
def room():
    """A picture with smooth and sharp parts, as photographs have."""
    y, x = np.mgrid[0:240, 0:320]
    pixels = np.stack([x * 0.6, y * 0.9, 255 - (x + y) * 0.4], -1).astype(np.uint8)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    draw.rectangle((40, 120, 140, 220), fill=(180, 30, 30))
    draw.ellipse((200, 30, 280, 110), fill=(240, 240, 200))
    return image


def saved(folder, **images):
    for name, (image, ending, options) in images.items():
        image.save(folder / f"{name}.{ending}", **options)
    return {name: folder / f"{name}.{ending}" for name, (_, ending, _) in images.items()}


def test_copies_are_alike_and_pictures_in_which_one_thing_differs_are_not(room, tmp_path):
    recoloured, moved = room.copy(), room.copy()
    ImageDraw.Draw(recoloured).rectangle((40, 120, 140, 220), fill=(30, 30, 180))
    ImageDraw.Draw(moved).rectangle((140, 120, 170, 150), fill=(20, 20, 20))
    pictures = saved(
        tmp_path,
        original=(room, "png", {}),
        copied=(room, "png", {}),
        smaller=(room.resize((160, 120), Image.Resampling.LANCZOS), "png", {}),
        compressed=(room, "jpg", {"quality": 30}),
        recoloured=(recoloured, "png", {}),
        moved=(moved, "png", {}),
        mirrored=(room.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "png", {}),
    )
    alike = find_alike(pictures)
    assert {(one.first, one.second) for one in alike} == {
        ("original", "copied"), ("original", "smaller"), ("original", "compressed"),
        ("copied", "smaller"), ("copied", "compressed"), ("smaller", "compressed"),
    }  # fmt: skip
    assert [one for one in alike if one.same_bytes] == [Alike("original", "copied", True)]
    assert groups_of(alike) == [["original", "copied", "smaller", "compressed"]]
    assert find_alike(pictures, workers=4) == alike


def test_unreadable_files_are_left_out_and_two_of_the_same_bytes_are_found_whatever_they_show(tmp_path):
    blank = Image.new("RGB", (64, 64), (255, 255, 255))
    pictures = saved(tmp_path, a=(blank, "png", {}), b=(blank, "png", {}), c=(blank, "jpg", {}))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8no")
    found = find_alike({**pictures, "broken": tmp_path / "broken.jpg", "none": tmp_path / "none.jpg"})
    assert [(one.first, one.second, one.same_bytes) for one in found] == [
        ("a", "b", True), ("a", "c", False), ("b", "c", False),
    ]  # fmt: skip


def test_many_blank_pictures_are_not_compared_each_with_each(tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.photos.alike._LARGEST_BAND", 3)
    blank = Image.new("RGB", (32, 32))
    pictures = saved(tmp_path, **{f"p{number}": (blank, "png", {}) for number in range(6)})
    found = find_alike(pictures)
    assert [(one.first, one.second) for one in found] == [("p0", f"p{number}") for number in range(1, 6)]
    assert groups_of(found) == [[f"p{number}" for number in range(6)]]


def test_equal_files_are_found_among_any_number_of_blank_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("diptych.photos.alike._LARGEST_BAND", 2)
    white, black = Image.new("RGB", (32, 32), (255, 255, 255)), Image.new("RGB", (32, 32))
    pictures = saved(tmp_path, a=(white, "png", {}), b=(black, "png", {}), c=(black, "png", {}))
    assert find_alike(pictures) == [Alike("b", "c", True)]
