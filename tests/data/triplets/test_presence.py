from __future__ import annotations

import logging
from pathlib import Path

import pytest

from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.data.triplets.presence import absent_files, complain_about


def test_missing_and_empty_files_are_found_with_the_reason(tmp_path):
    (tmp_path / "here.jpg").write_bytes(b"x")
    (tmp_path / "empty.jpg").touch()
    files = {name: tmp_path / f"{name}.jpg" for name in ("here", "empty", "gone")}
    assert absent_files(files) == {
        "empty": f"{tmp_path}/empty.jpg is empty",
        "gone": f"{tmp_path}/gone.jpg is missing",
    }


def test_a_complete_set_is_silent():
    assert absent_files({}) == {}


ABSENT = {str(number): f"images/{number}.jpg is missing" for number in range(5)}


def test_a_short_set_is_refused_with_the_ways_out():
    with pytest.raises(ValueError) as raised:
        complain_about(ABSENT, 2297, HotelCIR(Path("data/hotels")), "val", "error")
    message = str(raised.value)
    assert message.startswith(
        "hotel_cir/val: 2292 of 2297 images are there; first of 5 absent: images/0.jpg is missing"
    )
    assert "images/2.jpg" in message and "images/3.jpg" not in message
    for way_out in ("python -m diptych.doctor data=hotel_cir", "docs/hotel_cir.md", "data.images.on_missing=drop"):
        assert way_out in message


def test_dropping_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        complain_about(ABSENT, 2297, HotelCIR(Path("data/hotels")), "val", "drop")
    assert "2292 of 2297 images" in caplog.text and "partial" in caplog.text
