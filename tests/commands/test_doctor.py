from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.commands.doctor import examine, examine_sources, images_needed
from diptych.commands.main import run
from diptych.data.triplets.circo import CIRCO
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.hotel_cir import HotelCIR
from diptych.photos import image_faults
from warm_python import warm

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.fixture
def source(tmp_path):
    """The invented hotel records with a picture for each image of train and val; there is no test split."""
    source = HotelCIR(shutil.copytree(ASSETS / "hotel_cir", tmp_path / "hotel_cir"))
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    for split in ("train", "val"):
        for path in images_needed(source, split).values():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noise).save(path)
    return source


def test_a_whole_set_is_healthy(source, capsys):
    (report,) = examine(source, ["train"], workers=1)
    assert report.healthy
    assert (report.num_records, report.num_expected, report.faults, report.listing) == (2, 4, (), None)
    assert examine_sources({"hotel_cir": source}, ["train", "val"]) == 0
    assert "everything is there and readable. docs/hotel_cir.md" in capsys.readouterr().out


def test_files_of_other_capitals_are_to_be_renamed(source):
    folder = source.root / "images/val_test/2/1"
    (folder / "a.jpg").rename(folder / "A.JPG")
    (report,) = examine(source, ["val"], workers=1)
    assert report.next_step.startswith("Rename the 1 files that are there, but spelt otherwise (in other capitals")
    assert str(report.listing) in report.next_step and report.next_step.endswith("has them, then run this again.")
    (folder / "b.jpg").unlink()
    (report,) = examine(source, ["val"], workers=1)
    assert "fetch the other 1 that it lists again (docs/hotel_cir.md)" in report.next_step


def test_missing_empty_and_damaged_files_are_told_apart_and_listed(source, capsys):
    folder = source.root / "images/val_test/2/1"
    (folder / "a.jpg").unlink()
    (folder / "b.jpg").write_bytes(b"")
    (folder / "c.jpg").write_bytes((folder / "c.jpg").read_bytes()[:600])
    (report,) = examine(source, ["val"], workers=1)
    assert [(fault.path.name, fault.kind) for fault in report.faults] == [
        ("a.jpg", "missing"),
        ("b.jpg", "zero bytes"),
        ("c.jpg", "unreadable"),
    ]
    assert report.listing == source.root / "doctor/hotel_cir/val.txt"
    lines = [line.split("\t") for line in report.listing.read_text().splitlines()]
    assert [line[0] for line in lines] == [str(folder / name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert lines[2][1].startswith("unreadable: ")
    assert str(report.listing) in report.next_step
    assert examine_sources({"hotel_cir": source}, ["val"]) == 1
    printed = capsys.readouterr().out
    assert "docs/hotel_cir.md" in printed
    assert "data.images.on_missing=drop" in printed


def test_a_listing_of_an_earlier_look_goes_away(source):
    picture = source.root / "images/val_test/2/1/a.jpg"
    content = picture.read_bytes()
    picture.write_bytes(b"not a picture")
    (report,) = examine(source, ["val"], workers=1)
    assert report.listing.is_file()
    picture.write_bytes(content)
    (report,) = examine(source, ["val"], workers=1)
    assert report.healthy
    assert not (source.root / "doctor/hotel_cir/val.txt").exists()


def test_a_second_look_decodes_only_what_changed(source, monkeypatch):
    decoded = []
    decode = image_faults.decoding_error
    monkeypatch.setattr(image_faults, "decoding_error", lambda path: decoded.append(path.name) or decode(path))
    damaged = source.root / "images/val_test/2/1/b.jpg"
    damaged.write_bytes(b"not a picture")
    (first,) = examine(source, ["val"], workers=1)
    assert decoded == ["a.jpg", "b.jpg", "c.jpg"]
    decoded.clear()
    (second,) = examine(source, ["val"], workers=1)
    assert decoded == []
    assert second.faults == first.faults
    (source.root / "images/val_test/2/1/c.jpg").write_bytes(b"changed")
    examine(source, ["val"], workers=1)
    assert decoded == ["c.jpg"]


def test_half_a_line_from_a_crash_is_skipped(source, monkeypatch):
    examine(source, ["val"], workers=1)
    kept = source.root / "doctor/verdicts.jsonl"
    kept.write_text(kept.read_text()[:-9])
    decoded = []
    monkeypatch.setattr(image_faults, "decoding_error", lambda path: decoded.append(path.name))
    examine(source, ["val"], workers=1)
    assert decoded == ["c.jpg"]
    assert [json.loads(line)[3] for line in kept.read_text().splitlines() if line.endswith("]")] == [None] * 3


@pytest.mark.processes
def test_processes_find_what_one_process_finds(source, monkeypatch):
    warm.use_for_multiprocessing()
    (source.root / "images/val_test/2/1/b.jpg").write_bytes(b"not a picture")
    (alone,) = examine(source, ["val"], workers=1)
    (source.root / "doctor/verdicts.jsonl").unlink()
    monkeypatch.setattr(image_faults, "_WORTH_A_POOL", 1)
    (together,) = examine(source, ["val"], workers=2)
    assert together.faults == alone.faults


def test_annotations_that_cannot_be_read_are_the_report(source, tmp_path, capsys):
    assert examine_sources({"hotel_cir": source}) == 1
    assert "hotel_test_data.json is not there" in capsys.readouterr().out
    absent = HotelCIR(tmp_path / "none")
    assert examine_sources({"hotel_cir": absent}) == 1
    printed = capsys.readouterr().out
    assert printed.count("No Hotel-CIR data") == 1
    assert "experiment=cir_rooms" in printed
    assert not absent.root.exists()


def test_output_goes_elsewhere(source, tmp_path):
    (source.root / "images/val_test/2/1/a.jpg").unlink()
    (report,) = examine(source, ["val"], output=tmp_path / "out", workers=1)
    assert report.listing == tmp_path / "out/hotel_cir/val.txt"
    assert not (source.root / "doctor").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to .*output=PATH"):
        examine(source, ["val"], output=tmp_path / "file", workers=1)


def test_images_of_training_include_distractors(source):
    assert set(images_needed(source, "train")) == {"1/7/a.jpg", "1/7/b.jpg", "1/8/c.jpg", "1/8/d.jpg"}
    assert "2/2/c.jpg" not in images_needed(source, "val")


def test_published_counts_are_compared(tmp_path):
    (report,) = examine(CIRR(ASSETS / "cirr"), ["val"], output=tmp_path)
    assert report.notes == (
        "cirr val: 4,181 pairs expected as published, the annotations list 2",
        "cirr val: 2,297 images expected as published, the annotations list 8",
        "cirr_val v1: left out recall_at_10, recall_at_50: their K is larger than the gallery (8 images), or than a "
        "group of look-alikes, where everything is found",
    )
    assert report.next_step.startswith("No image is there: docs/cirr.md")
    assert [report.count("missing"), report.num_expected] == [8, 8]


def test_unknown_split(source):
    with pytest.raises(ValueError, match="circo has no split 'train'; choose one of val, test"):
        examine(CIRCO(ASSETS / "circo"), ["train"])


def test_usage(capsys):
    assert run("doctor", []) == 2
    assert "data=... is missing; usage:" in capsys.readouterr().err


def test_the_command_line_composes_the_sources(source, tmp_path, capsys):
    words = ["data=hotel_cir", f"data.root={source.root}", "split=val", f"output={tmp_path / 'out'}", "workers=1"]
    assert run("doctor", words) == 0
    assert "hotel_cir" in capsys.readouterr().out
    assert (tmp_path / "out/verdicts.jsonl").is_file()
    assert run("doctor", ["data=hotel_cir", f"data.root={tmp_path / 'none'}"]) == 1
    assert str(tmp_path / "none") in capsys.readouterr().out
    assert run("doctor", ["data=hotels"]) == 2
    assert "there is no data=hotels. Did you mean 'hotel_cir'?" in capsys.readouterr().err
