"""`diptych pairs`, as users type it."""

from __future__ import annotations

import json

import pytest

from diptych.commands.main import run
from diptych.data.pairs.image_pairs import read_pairs
from tiny_runs import TINY_ROOMS_SIZES
from tiny_sets import tiny_set

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("cirr", "rooms"):
        tiny_set(name, folder / name)
    return folder


def test_the_pairs_of_a_dataset_are_those_that_the_annotation_reads(data, tmp_path, capsys, caplog):
    words = ["data=cirr", f"data_dir={data}", f"out={tmp_path / 'new/pairs.jsonl'}"]
    assert run("pairs", words) == 0
    assert "12 pairs of 12 images, from 12 records of cirr/train" in capsys.readouterr().out
    assert [pair.pair_id for pair in read_pairs(tmp_path / "new/pairs.jsonl").pairs] == [
        str(n) for n in range(100, 112)
    ]
    assert not caplog.records
    assert run("pairs", [*words, "split=val", f"images_root={data / 'cirr/img_raw'}"]) == 0
    capsys.readouterr()
    first = (tmp_path / "new/pairs.jsonl").read_text().splitlines()[0]
    assert '"reference_image":"dev/dev-0-0-img0.png"' in first.replace(": ", ":")
    assert len(read_pairs(tmp_path / "new/pairs.jsonl", data / "cirr/img_raw").pairs) == 12


def test_some_are_drawn_by_the_seed(data, tmp_path, capsys):
    def drawn(*words):
        assert run("pairs", ["data=cirr", f"data_dir={data}", f"out={tmp_path / 'pairs.jsonl'}", *words]) == 0
        return [pair.pair_id for pair in read_pairs(tmp_path / "pairs.jsonl").pairs]

    first = drawn("num_pairs=5")
    assert len(first) == 5 and first == sorted(first) == drawn("num_pairs=5", "seed=0") != drawn(
        "num_pairs=5", "seed=1"
    )
    assert "5 pairs of " in capsys.readouterr().out
    assert run("pairs", ["data=cirr", f"data_dir={data}", f"out={tmp_path / 'pairs.jsonl'}", "num_pairs=13"]) == 2
    assert "num_pairs=13: there are 12 pairs to draw from" in capsys.readouterr().err


def test_what_a_set_has_texts_for_is_left_out(data, tmp_path, capsys):
    names = {"reference_image": "a.png", "modification_texts": ["Red."], "target_image": "b.png"}
    (tmp_path / "set").mkdir()
    lines = [json.dumps({"query_id": query_id, **names}) for query_id in ("103", "107", "other")]
    (tmp_path / "set/train.jsonl").write_text("\n".join(lines) + "\n")
    words = ["data=cirr", f"data_dir={data}", f"out={tmp_path / 'pairs.jsonl'}", f"without={tmp_path / 'set'}"]
    assert run("pairs", [*words, "num_pairs=10"]) == 0
    assert {pair.pair_id for pair in read_pairs(tmp_path / "pairs.jsonl").pairs} == {
        str(number) for number in range(100, 112) if number not in (103, 107)
    }
    assert run("pairs", [*words, "num_pairs=11"]) == 2
    assert "there are 10 pairs to draw from" in capsys.readouterr().err


def test_a_mix_keeps_each_pair_once_and_says_so(data, tmp_path, capsys, caplog):
    words = ["data=[cirr,cirr_rewritten]", f"data_dir={data}", f"data.sources.cirr_rewritten.root={data / 'cirr'}"]
    assert run("pairs", [*words, f"out={tmp_path / 'pairs.jsonl'}"]) == 0
    assert "12 pairs of 12 images, from 24 records of cirr/train, cirr_rewritten/train" in capsys.readouterr().out
    assert "12 records name the images of an earlier one" in caplog.text and "cirr_rewritten-cirr_r-0" in caplog.text


def test_what_cannot_be_is_said(data, tmp_path, capsys, caplog):
    out = f"out={tmp_path / 'pairs.jsonl'}"
    for words, message in (
        (["data=newsroom", out], "data.sources.newsroom has no triplets"),
        (["data=cirr", f"data_dir={data}", out, "data.train_on=[cir]"], "no source 'cir'. Did you mean 'cirr'"),
        (["data=cirr", f"data_dir={data}", "out=pairs.json"], "must end in .jsonl"),
        (["data=cirr", f"data_dir={data}", out, "split=test"], "has no targets"),
        (["data=cirr", f"data_dir={tmp_path}", out], "cirr"),
        (
            ["data=cirr", f"data_dir={data}", out, f"images_root={data / 'rooms'}"],
            "does not hold the images of 12 pairs",
        ),
        ([out], "data=... is missing"),
    ):
        assert run("pairs", words) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "pairs.jsonl").exists()
    (data / "cirr/img_raw/train/0/train-0-0-img0.png").rename(data / "away.png")
    assert run("pairs", ["data=cirr", f"data_dir={data}", out]) == 0
    (data / "away.png").rename(data / "cirr/img_raw/train/0/train-0-0-img0.png")
    assert "1 of 12 images are not there" in caplog.text


def test_generated_sets_are_made_first(data, tmp_path, capsys):
    assert run("pairs", ["data=rooms", f"data_dir={data}", *TINY_ROOMS_SIZES, f"out={tmp_path / 'p.jsonl'}"]) == 0
    assert "of rooms/train" in capsys.readouterr().out
