"""What is wrong with a dropped file is said under the name that its owner knows."""

from __future__ import annotations

import pytest
from PIL import Image

from diptych.app.uploads import dropped_picture


def test_a_picture_is_taken_with_its_name(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    assert dropped_picture(str(tmp_path / "red.png")) == (tmp_path / "red.png", "red.png")


def test_what_is_no_whole_picture_is_refused_without_its_place_on_this_machine(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "empty.png").touch()
    for name, said in (("cut.jpg", "truncated"), ("words.png", "not a readable image"), ("empty.png", "is empty")):
        with pytest.raises(ValueError, match=said) as error:
            dropped_picture(str(tmp_path / name))
        assert name in str(error.value) and str(tmp_path) not in str(error.value)
