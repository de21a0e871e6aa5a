"""What the doctor says of a table of one's own triplets."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from diptych.commands.doctor import examine_data
from diptych.config.command_line import composed
from diptych.config.resolvers import register_resolvers

HEADER = "reference,text,target,split\n"


@pytest.fixture(autouse=True)
def resolvers():
    register_resolvers()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((160, 120), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def said(table, rows, capsys, **settings):
    table.write_text(HEADER + "".join(f"photos/{a}.png,{text},photos/{b}.png,{split}\n" for a, text, b, split in rows))
    words = [f"data={table}"]
    status = examine_data(composed("train", words), workers=1, words=words, **settings)
    return status, capsys.readouterr().out


def test_a_clean_table_is_understood_and_the_smallest_training_named(photos, tmp_path, capsys):
    rows = [(0, "with a lamp", 1, "train"), (2, "in red", 3, "train"), (4, "taller", 5, "val"), (6, "wider", 7, "test")]
    status, out = said(tmp_path / "shop.csv", rows, capsys)
    assert status == 0
    assert "own_data train: 2 triplets with 4 different pictures, texts of 2.5 words (2 to 3)\n" in out
    assert (
        "own_data test: 1 triplets with 2 different pictures, texts of 1 words (1 to 1), searched in 8 pictures" in out
    )
    assert (
        f"the smallest training that works: diptych train experiment=cir_rooms data={tmp_path}/shop.csv name=first_try"
        " data.training.batch_size=2 trainer.max_steps=300\n"
    ) in out
    for word in ("again", "trained on", "under different names", "nearly the same", "tokens"):
        assert word not in out, word
    _, out = said(tmp_path / "shop.csv", rows, capsys, contents=False)
    assert "different pictures" not in out


def test_what_is_there_twice_leaks_or_is_cut_is_said(photos, tmp_path, capsys):
    shutil.copy(photos / "0.png", photos / "8.png")  # the same bytes, in train and in test
    Image.open(photos / "2.png").save(photos / "9.png", compress_level=1)
    assert (photos / "2.png").read_bytes() != (photos / "9.png").read_bytes()
    long = "a lamp " * 60
    rows = [
        (0, "with a lamp", 1, "train"), (0, "With a lamp", 1, "train"), (2, "in red", 3, "train"),
        (2, "in red", 10, "train"), (3, "as it is", 3, "train"), (4, long.strip(), 5, "val"), (1, "back", 5, "val"),
        (8, "wider", 7, "test"), (9, "lower", 7, "test"),
    ]  # fmt: skip
    _, out = said(tmp_path / "shop.csv", rows, capsys)
    assert (
        "own_data train: 1 triplets say again what another one says, first photos/0.png to photos/1.png, 'with" in out
    )
    assert "train: 1 times the same picture and text have several targets, first photos/2.png, 'in red'" in out
    assert "own_data train: 1 triplets have their reference as the target, first row-5\n" in out
    assert (
        "own_data: 1 texts have more than the 77 tokens that CLIP reads and lose their end;"
        " the longest, row-6 of val, has 122\n"
    ) in out
    assert "own_data: 1 of 2 queries of val have a picture that is trained on, first row-7 (photos/1.png)" in out
    assert "queries of test have a picture that is trained on" not in out
    assert "2 pictures are the same files under different names, in 1 groups, first photos/0.png, photos/8.png" in out
    assert "2 pictures are nearly the same pictures, in 1 groups, first photos/2.png, photos/9.png" in out
    assert "2 pairs of (nearly) the same pictures are on both sides of train and another split, first photos/0" in out


def test_other_sets_are_looked_into_where_it_is_asked_for(tmp_path, capsys):
    from pathlib import Path

    assets = Path(__file__).parents[1] / "assets/circo"
    words = ["data=circo", f"data.root={assets}"]
    config = composed("train", words)
    examine_data(config, "val", tmp_path, workers=1, words=words)
    assert "different pictures" not in capsys.readouterr().out
    examine_data(config, "val", tmp_path, workers=1, words=words, contents=True)
    assert "circo val: 2 triplets with 3 different pictures" in capsys.readouterr().out
