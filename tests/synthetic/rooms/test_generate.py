import hashlib
import json
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from diptych.commands.main import run
from diptych.synthetic import triplet_sets
from diptych.synthetic.rooms.generate import ROOMS, RoomsSettings, draw_sheet, generate_rooms
from diptych.synthetic.rooms.scene import scene_from_json
from diptych.synthetic.rooms.source import Rooms
from diptych.synthetic.scenes import ATTRIBUTES, find_changes
from diptych.synthetic.triplet_sets import SPLITS

pytestmark = pytest.mark.slow

MANIFEST = ROOMS.manifest_name
JSON_OF_VERSION_4 = "92cf012f732465fbd10bdddf61347213ed3ab3682cef2719746f7d3ee1b49020"
SMALL = RoomsSettings(
    num_train_hotels=2, num_val_hotels=1, num_test_hotels=1, triplets_per_train_hotel=8, triplets_per_eval_hotel=4
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return generate_rooms(tmp_path_factory.mktemp("rooms") / "set", SMALL, num_workers=1)


def _records(root, split):
    return json.loads((root / "captions" / f"hotel_{split}_data.json").read_text(encoding="utf-8"))


def _image_split(split):
    return "train" if split == "train" else "val_test"


def _scene(root, split, value):
    path = (root / "scenes" / _image_split(split) / value).with_suffix(".json")
    return scene_from_json(json.loads(path.read_text(encoding="utf-8"))["scene"])


def _contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _hotel(value):
    return value.rsplit("/", 1)[0]


def test_same_seed_same_bytes_with_any_number_of_processes(root, tmp_path):
    again = generate_rooms(tmp_path / "again", SMALL, num_workers=2)
    assert _contents(again) == _contents(root)


def test_another_seed_gives_other_rooms(root, tmp_path):
    other = generate_rooms(tmp_path / "other", replace(SMALL, seed=1), num_workers=1)
    assert _records(other, "test") != _records(root, "test")


def test_layout_and_path_rule(root):
    for split in SPLITS:
        records = _records(root, split)
        assert len(records) == SMALL.num_groups(split) * SMALL.num_triplets(split)
        for record in records:
            assert set(record) == {"query_image", "result_image", "difference", "distractors", "changes"}
            assert isinstance(record["difference"], str)
            assert len(record["distractors"]) == 2
            for value in (record["query_image"], record["result_image"], *record["distractors"]):
                assert len(value.split("/")) == 3
                picture = cv2.imread(str(root / "images" / _image_split(split) / value))
                assert picture.shape == (128, 128, 3)


def test_every_image_has_its_scene_and_every_scene_its_image(root):
    images = {path.relative_to(root / "images").with_suffix("") for path in (root / "images").rglob("*.jpg")}
    scenes = {path.relative_to(root / "scenes").with_suffix("") for path in (root / "scenes").rglob("*.json")}
    assert images == scenes and images


def test_scenes_differ_in_exactly_the_listed_changes(root):
    for split in SPLITS:
        for record in _records(root, split):
            reference, target = (_scene(root, split, record[key]) for key in ("query_image", "result_image"))
            changes = find_changes(reference, target)
            assert [change.to_json() for change in changes] == record["changes"]
            assert 1 <= len(changes) <= 3


def test_kinds_of_change_are_aspects_of_the_queries(root):
    for query, record in zip(Rooms(root).queries("val"), _records(root, "val"), strict=True):
        kinds = {change["attribute"] for change in record["changes"]}
        assert kinds <= {*ATTRIBUTES, "presence"}
        assert query.aspects[0] == f"changes_{len(record['changes'])}"
        assert len(query.aspects) == 1 + len(kinds) and set(query.aspects[1:]) == {f"changed_{kind}" for kind in kinds}


def test_distractors_are_one_change_from_the_target_and_not_the_reference(root):
    for split in SPLITS:
        for record in _records(root, split):
            target = _scene(root, split, record["result_image"])
            assert record["query_image"] not in record["distractors"]
            for value in record["distractors"]:
                assert _hotel(value) == _hotel(record["result_image"])
                assert len(find_changes(target, _scene(root, split, value))) == 1


def test_no_two_rooms_are_equal(root):
    scenes = [json.loads(path.read_text(encoding="utf-8"))["scene"] for path in (root / "scenes").rglob("*.json")]
    assert len({json.dumps(scene, sort_keys=True) for scene in scenes}) == len(scenes)


def test_triplets_are_distinct_and_splits_share_no_hotel(root):
    hotels = defaultdict(set)
    for split in SPLITS:
        pairs = [(record["query_image"], record["result_image"]) for record in _records(root, split)]
        assert len(set(pairs)) == len(pairs)
        hotels[split] = {_hotel(value) for pair in pairs for value in pair}
        assert len(hotels[split]) == SMALL.num_groups(split)
    assert not hotels["train"] & hotels["val"] and not hotels["val"] & hotels["test"]
    assert not hotels["train"] & hotels["test"]


def test_numbers_of_changes_are_mixed_as_promised():
    rng = np.random.default_rng(0)
    pairs = [pair for _ in range(400) for pair in triplet_sets._sample_pairs(8, 12, rng)]
    shares = np.bincount([(one ^ other).bit_count() for one, other in pairs]) / len(pairs)
    np.testing.assert_allclose(shares, [0.0, 0.6, 0.3, 0.1], atol=0.03)


def test_all_pairs_of_a_hotel_can_be_asked_for():
    pairs = triplet_sets._sample_pairs(8, 56, np.random.default_rng(0))
    assert len(set(pairs)) == 56


def test_complete_set_is_left_alone(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert generate_rooms(root, SMALL, num_workers=1) == root
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_failed_generation_leaves_nothing(tmp_path, monkeypatch):
    def fail(task):
        if task.number == 1:
            raise KeyboardInterrupt
        return original(task)

    original = triplet_sets.write_group
    monkeypatch.setattr(triplet_sets, "write_group", fail)
    with pytest.raises(KeyboardInterrupt):
        generate_rooms(tmp_path / "set", SMALL, num_workers=1)
    assert {path.name for path in tmp_path.iterdir()} <= {".set.lock"}


def test_killed_generation_leaves_no_set_and_the_next_one_succeeds(root, tmp_path):
    command = [sys.executable, "-m", "diptych.synthetic.rooms.generate", f"out={tmp_path / 'set'}", "workers=1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(tmp_path.rglob("*.jpg")):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "set").exists()
    assert not list(tmp_path.rglob(MANIFEST))
    made = generate_rooms(tmp_path / "set", SMALL, num_workers=1)
    assert _contents(made) == _contents(root)
    assert {path.name for path in tmp_path.iterdir()} == {"set", ".set.lock"}


def test_manifest_is_written_last(tmp_path, monkeypatch):
    written = []
    original = triplet_sets._write_json

    def record(path, value):
        written.append(path.name)
        original(path, value)

    monkeypatch.setattr(triplet_sets, "_write_json", record)
    generate_rooms(tmp_path / "set", SMALL, num_workers=1)
    assert written.index(MANIFEST) == len(written) - 1


def test_folder_with_something_else_is_refused(tmp_path, root):
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match="not empty"):
        generate_rooms(tmp_path, SMALL)
    with pytest.raises(ValueError, match="another rooms set"):
        generate_rooms(root, replace(SMALL, seed=5))


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"num_val_hotels": 0}, {"triplets_per_train_hotel": 57}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"rooms set|fewer triplets"):
        RoomsSettings(**wrong)


def test_sheet_shows_the_rooms_of_the_set():
    sheet = draw_sheet(seed=0, num_hotels=2, num_rooms=3)
    assert sheet.shape == (2 * 132 - 4, 3 * 132 - 4, 3)
    assert (sheet[128:132] == 255).all()


def test_command_line(tmp_path):
    few = [f"num_{split}_hotels=1" for split in SPLITS]
    assert run("generate rooms", [f"out={tmp_path / 'set'}", "seed=4", "workers=1", *few]) == 0
    manifest = json.loads((tmp_path / "set" / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["seed"] == 4 and manifest["num_train_hotels"] == 1


def test_the_rooms_are_those_of_version_4(root):
    """Texts, scenes and pictures: whoever changes them counts `ROOMS.version` on, so that older sets are refused."""
    lines = [_contents(root)[path] for path in sorted(_contents(root)) if path.endswith(".json")]
    assert ROOMS.version == 4 and hashlib.sha256(b"".join(lines)).hexdigest() == JSON_OF_VERSION_4
    committed = cv2.imread(str(Path(__file__).parents[3] / "docs/images/rooms.png"), cv2.IMREAD_COLOR_RGB)
    assert np.abs(draw_sheet(0).astype(int) - committed).max() <= 1  # another processor may round another way
