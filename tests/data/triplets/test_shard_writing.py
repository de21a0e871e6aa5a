"""Shards as they are written: the files' bytes, the order, conversions that are killed, refused or mended."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil

import pytest
import webdataset

from diptych.data.triplets import shard_writing
from diptych.data.triplets.sampling import MixingSampler
from diptych.data.triplets.shard_writing import write_shards
from diptych.data.triplets.shards import ShardFolder
from shard_examples import NUM_TRIPLETS, contents, make_pictures, records_of


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def records(source):
    return records_of(source)


def stored_in(folder):
    return [stored for number in range(len(folder.shards)) for stored in folder.read(number)]


def test_webdataset_itself_reads_the_files_bytes(records, source, tmp_path):
    folder = write_shards(records, tmp_path / "out", per_shard=10, with_distractors=True)
    names = [str(folder.folder / shard.file) for shard in folder.shards]
    samples = list(webdataset.WebDataset(names, shardshuffle=False))
    assert len(samples) == NUM_TRIPLETS
    triplets = source.triplets("train")
    for sample in samples:
        record = json.loads(sample["json"])
        triplet = triplets[record["example"]]
        ids = [triplet.reference_image, triplet.target_image, *triplet.distractors]
        assert [image["id"] for image in record["images"]] == ids
        assert tuple(record["modification_texts"]) == triplet.modification_texts
        assert len([name for name in sample if not name.startswith("__")]) == len(ids) + 1
        for image, image_id in zip(record["images"], ids, strict=True):
            assert sample[image["file"]] == source.image_path("train", image_id).read_bytes()
        assert record["images"][0]["file"] in ("reference.jpg", "reference.png")


def test_what_is_read_is_what_was_there(records, source, tmp_path):
    stored = stored_in(write_shards(records, tmp_path / "out", per_shard=10, with_distractors=True))
    assert sorted(item.example for item in stored) == list(range(NUM_TRIPLETS))
    for item in stored:
        assert item.triplet == records[item.example][1] and item.source == "pictures"
    images = {image.path: image for item in stored for image in item.images}
    assert images["images.v1/1/4.png"].name == "1/4.png"
    assert images["images.v1/1/4.png"].data == source.image_path("train", "4").read_bytes()


def test_the_order_is_a_shuffled_pass_in_shards_of_equal_size(records, tmp_path):
    folder = write_shards(records, tmp_path / "out", per_shard=10, seed=5)
    assert [shard.triplets for shard in folder.shards] == [9, 9, 9, 10]
    order = [example for example, _ in MixingSampler([NUM_TRIPLETS], None, 1, NUM_TRIPLETS, seed=5)]
    assert [item.example for item in stored_in(folder)] == order != sorted(order)


def test_look_alikes_stand_side_by_side(records, tmp_path):
    stored = stored_in(write_shards(records, tmp_path / "out", per_shard=40, group_size=4))
    runs = [len(list(run)) for _, run in itertools.groupby(item.triplet.group for item in stored)]
    assert sorted(runs) == [1] + [4] * 9


def test_neither_folder_nor_time_is_in_the_bytes(records, source, tmp_path, monkeypatch):
    write_shards(records, tmp_path / "out", per_shard=10)
    shutil.copytree(source.root, tmp_path / "elsewhere")
    monkeypatch.setattr("time.time", lambda: 1e9)
    moved = type(source)(tmp_path / "elsewhere")
    write_shards(records_of(moved), tmp_path / "again", per_shard=10)
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_a_picture_that_two_sources_share_is_one(source, tmp_path):
    two = records_of(source, type(source)(source.root, "others"))
    other = make_pictures(tmp_path / "else", "else")
    images = [
        {(item.source, image.path) for item in stored_in(write_shards(part, tmp_path / name)) for image in item.images}
        for name, part in (("shared", two), ("apart", records_of(source, other)))
    ]
    assert {path for name, path in images[0] if name == "others"} == {
        path for name, path in images[0] if name == "pictures"
    }
    assert not {path for name, path in images[1] if name == "else"} & {
        path for name, path in images[1] if name == "pictures"
    }


class Killed(BaseException):
    """What no handler of ours may catch."""


@pytest.mark.parametrize(("alive_for", "num_done"), [(0, 0), (1, 0), (4, 1), (7, 3), (10, 4)])
def test_killed_and_started_again_ends_with_the_same_bytes(records, tmp_path, monkeypatch, alive_for, num_done):
    """Killed before or after a file gets its name: the conversion's own, a shard, the manifest."""
    write_shards(records, tmp_path / "undisturbed", per_shard=10)
    calls, real = iter(range(100)), shard_writing.os.fsync

    def fsync(descriptor):
        if next(calls) == alive_for:
            raise Killed
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(shard_writing.os, "fsync", fsync)
        with pytest.raises(Killed):
            write_shards(records, tmp_path / "out", per_shard=10)
    if alive_for:
        with pytest.raises(ValueError, match=r"conversion is not finished: run python -m diptych\.shards"):
            ShardFolder(tmp_path / "out")
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert len(done) == num_done
    for path in (tmp_path / "out").glob(".*.tmp"):
        path.write_bytes(path.read_bytes()[:700])  # the kernel had not written it all
    write_shards(records, tmp_path / "out", per_shard=10)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert all(path.stat().st_mtime_ns == time for path, time in done.items())


def test_a_finished_folder_is_left_alone_and_a_torn_one_mended(records, tmp_path):
    write_shards(records, tmp_path / "out", per_shard=10)
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    write_shards(records, tmp_path / "out", per_shard=10)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times
    (tmp_path / "out/000001.tar").unlink()
    (tmp_path / "out/000002.tar").write_bytes(b"torn")
    write_shards(records, tmp_path / "out", per_shard=10)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": 1}, "seed 0 there, 1 asked for"),
        ({"per_shard": 5}, "per_shard 10 there, 5"),
        ({"group_size": 2}, "group_size 1 there, 2"),
        ({"with_distractors": True}, "distractors False there, True"),
        ({"exploded": True}, "exploded False there, True"),
    ],
)
def test_another_conversion_is_refused(records, tmp_path, settings, message):
    write_shards(records, tmp_path / "out", per_shard=10)
    before = contents(tmp_path / "out")
    with pytest.raises(ValueError, match=f"holds another conversion .*{message}.*choose another output"):
        write_shards(records, tmp_path / "out", **{"per_shard": 10} | settings)
    assert contents(tmp_path / "out") == before


def test_other_records_are_another_conversion(records, tmp_path):
    write_shards(records, tmp_path / "out")
    with pytest.raises(ValueError, match="triplets 37 there, 36 asked for; records"):
        write_shards(records[1:], tmp_path / "out")


def test_a_folder_of_something_else_is_refused(records, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("all of it")
    with pytest.raises(ValueError, match="not empty and holds no shards"):
        write_shards(records, tmp_path / "out")
    assert list(contents(tmp_path / "out")) == ["thesis.tex"]


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_an_unreadable_image_names_file_query_and_source(tmp_path, damage):
    source = make_pictures(tmp_path / "pictures")
    path = source.image_path("train", "11")
    path.unlink()
    if damage == "empty":
        path.touch()
    with pytest.raises(ValueError, match=r"2/11\.JPG .*\(query q\d+ of pictures\)"):
        write_shards(records_of(source), tmp_path / "out")


def test_shards_of_nothing_are_refused(records, tmp_path):
    with pytest.raises(ValueError, match="per_shard=0"):
        write_shards(records, tmp_path / "out", per_shard=0)


def test_other_processes_can_be_given_the_work(records, tmp_path):
    settings = {"seed": 0, "group_size": 1, "per_shard": 10, "distractors": True}
    for task in shard_writing._tasks(records, tmp_path, settings):
        assert pickle.loads(pickle.dumps(task)) == task
