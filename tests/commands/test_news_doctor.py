"""The doctor on news: photos of queries, the articles, and the photos printed with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diptych.commands.doctor import examine_sources
from diptych.commands.main import run
from diptych.commands.news_doctor import examine_news
from diptych.contracts.news import NewsSource
from diptych.data.news.openevents import OpenEvents

ASSETS = Path(__file__).parents[1] / "assets"


@pytest.fixture
def source(tmp_path):
    """The invented news with a photo for every query of train and test and for every article."""
    root = Path(shutil.copytree(ASSETS / "openevents", tmp_path / "openevents"))
    source = OpenEvents(root, val_share=0.0, image_folders=dict.fromkeys(("database", "train", "test"), "photos"))
    noise = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    (root / "photos").mkdir()
    paths = [source.image_path(split, query.query_id) for split in ("train", "test") for query in source.queries(split)]
    for path in [*paths, *(image.path for image in source.gallery())]:
        Image.fromarray(noise).save(path)
    return source


def test_a_whole_set_is_healthy(source, capsys):
    assert isinstance(source, NewsSource)
    train, test, database = examine_news(source, ["train", "test"], workers=1)
    assert [report.split for report in (train, test, database)] == ["train", "test", "database"]
    assert all(report.healthy and report.listing is None and not report.faults for report in (train, test, database))
    assert [(report.num_records, report.num_expected) for report in (train, test, database)] == [(5, 5), (3, 3), (4, 4)]
    assert database.notes == (
        "openevents database: 1 of 4 articles have no text, first 12e4567890123456",
        "openevents database: photos were counted, not decoded; database=true decodes them",
    )
    assert "openevents train: 22,040 rows expected as published, the files hold 6" in train.notes
    assert "openevents train: 1 queries have no annotated article, first 1111111111111111" in train.notes
    assert examine_sources({"openevents": source}, ["train"], workers=1) == 0
    printed = capsys.readouterr().out
    assert "Next: everything is there and readable. docs/openevents.md" in printed and "Note: openevents" in printed


def test_query_photos_must_be_there_and_readable(source, capsys):
    first, second = [source.image_path("test", query.query_id) for query in source.queries("test")][:2]
    first.unlink()
    second.write_bytes(b"not a picture")
    assert examine_sources({"openevents": source}, ["test"], workers=1) == 1
    listing = source.root / "doctor/openevents/test.txt"
    lines = [line.split("\t") for line in listing.read_text().splitlines()]
    assert [line[0] for line in lines] == [str(first), str(second)]
    assert lines[0][1].startswith("missing: ") and lines[1][1].startswith("unreadable: ")
    printed = capsys.readouterr().out
    assert f"Next: Fetch the 2 files listed in {listing} again (docs/openevents.md), then run this again." in printed
    assert "on_missing" not in printed


def test_database_photos_may_be_missing_unless_asked_for(source, capsys):
    missing, empty, damaged = [image.path for image in source.gallery()][:3]
    missing.unlink()
    empty.write_bytes(b"")
    damaged.write_bytes(b"not a picture")
    *_, counted = examine_news(source, ["train"], workers=1)
    assert counted.healthy and [counted.count(kind) for kind in ("missing", "zero bytes", "unreadable")] == [1, 1, 0]
    assert "2 of 4 photos are absent" in counted.notes[-1] and "only image retrieval needs them" in counted.notes[-1]
    assert examine_sources({"openevents": source}, ["test"], workers=1) == 0
    assert "Next: everything that is needed is there and readable" in capsys.readouterr().out
    *_, decoded = examine_news(source, ["train"], workers=1, decode_database=True)
    assert [fault.kind for fault in decoded.faults] == ["missing", "zero bytes", "unreadable"]
    assert not decoded.healthy and "database=true" not in " ".join(decoded.notes)
    assert decoded.listing == source.root / "doctor/openevents/database.txt"
    assert str(decoded.listing) in decoded.next_step
    assert examine_sources({"openevents": source}, ["train"], workers=1, decode_database=True) == 1


def test_tables_that_cannot_be_read_are_the_report(source, tmp_path, capsys):
    (source.root / "Database/database.json").write_text('{"a":')
    train, database = examine_news(OpenEvents(source.root, val_share=0.0), ["train"], workers=1)
    assert "database.json" in database.problem and not database.healthy
    assert train.problem is None and train.notes == ()
    assert examine_sources({"openevents": OpenEvents(tmp_path / "none")}) == 1
    printed = capsys.readouterr().out
    assert printed.count("No OpenEvents data") == 1
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="openevents has no split 'public'; choose one of train, val, test"):
        examine_news(source, ["public"])


def test_output_goes_elsewhere(source, tmp_path):
    next(iter(source.gallery())).path.unlink()
    *_, database = examine_news(source, ["train"], output=tmp_path / "out", workers=1)
    assert database.listing == tmp_path / "out/openevents/database.txt"
    assert not (source.root / "doctor").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written to .*output=PATH"):
        examine_news(source, ["train"], output=tmp_path / "file", workers=1)


@pytest.mark.slow
def test_the_command_line_makes_the_newsroom_and_decodes_all_of_it(tmp_path, capsys):
    few = [f"++data.sources.newsroom.settings.num_{split}_families=1" for split in ("train", "val", "test")]
    words = ["data=newsroom", f"data.root={tmp_path / 'newsroom'}", *few, "database=true", "workers=1"]
    assert run("doctor", [*words, f"output={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "docs/newsroom.md shows how to train" in printed
    assert (tmp_path / "newsroom/newsroom.json").is_file() and (tmp_path / "out/verdicts.jsonl").is_file()
    assert run("doctor", ["data=newsroom", "database=maybe"]) == 2
    assert run("doctor", ["data=cirr", "database=true"]) == 2
    assert "database=true is for news: cirr has no photos printed with articles" in capsys.readouterr().err
