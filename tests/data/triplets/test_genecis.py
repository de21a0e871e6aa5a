from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.commands.doctor import examine
from diptych.contracts.retrieval import TripletSource
from diptych.data.triplets.evaluation_data import evaluation_set
from diptych.data.triplets.genecis import TASKS, GeneCIS
from diptych.metrics.retrieval.measuring import summary
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.systems.retrieval_evaluation import evaluate_set

OBJECTS = [  # invented, in the published layout
    {
        "condition": "wall",
        "reference": {"val_image_id": 139},
        "target": {"val_image_id": 285},
        "gallery": [{"val_image_id": 632}, {"val_image_id": 724}, {"val_image_id": 776}],
    },
    {
        "condition": "sky",
        "reference": {"val_image_id": 285},
        "target": {"val_image_id": 776},
        "gallery": [{"val_image_id": 139}, {"val_image_id": 285}, {"val_image_id": 139}],
    },
]


def instance(image_id: object, *box: float) -> dict:
    return {"image_id": image_id, "instance_bbox": list(box)}


ATTRIBUTES = [
    {
        "condition": "color",
        "reference": instance("11", 50.0, 20.0, 20.0, 10.0),
        "target": instance("11", 0, 0, 30, 60),
        "gallery": [instance("12", 5.5, 10.25, 40.0, 20.0), instance("12", 20, 10, 80, 50)],
    }
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "genecis"
    for name in ("genecis", "val2017", "VG_100K_all"):
        (folder / name).mkdir(parents=True)
    for task in TASKS:
        records = ATTRIBUTES if task.endswith("attribute") else OBJECTS
        (folder / "genecis" / f"{task}.json").write_text(json.dumps(records))
    for number in (139, 285, 632, 724, 776):
        Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(folder / "val2017" / f"{number:012d}.jpg")
    for number in (11, 12):
        Image.fromarray(pixels(number)).save(folder / "VG_100K_all" / f"{number}.jpg", quality=100, subsampling=0)
    return folder


def pixels(seed: int) -> np.ndarray:
    """60 rows of 100 pixels: red grows to the right, green downwards, and nothing is black."""
    rows, columns = np.mgrid[:60, :100]
    return np.stack([columns * 2 + 40, rows * 3 + 40, np.full_like(rows, seed + 50)], axis=-1).astype(np.uint8)


def test_a_query_ranks_its_own_candidates(root):
    source = GeneCIS(root, "change_object")
    assert isinstance(source, TripletSource)
    first, second = source.queries("val")
    assert (first.query_id, first.reference_image, first.text, first.target_image) == (
        *("change_object-0", "139", "wall"),
        "285",
    )
    assert first.group_member_ids == ("285", "632", "724", "776")
    assert second.group_member_ids == ("776", "139", "285")  # the reference stays, and who is named twice counts once
    assert [image.image_id for image in source.gallery("val")] == ["285", "632", "724", "776", "139"]
    assert source.gallery("val")[0].path == root / "val2017/000000000285.jpg"
    protocol = source.protocol("val")
    assert (protocol.name, protocol.candidates, protocol.recall_ks) == ("genecis_change_object", "group", (1, 2, 3))


def test_candidates_that_are_named_twice_are_counted(root, caplog):
    with caplog.at_level(logging.WARNING):
        GeneCIS(root, "focus_object").queries("val")
    assert "focus_object.json: 1 candidates are named twice by one record; each counts once" in caplog.text


def test_recall_is_that_among_the_candidates(root):
    """The first query likes 139 best, which is not among its candidates; the second its own reference, which is."""
    evaluation = evaluation_set(GeneCIS(root, "focus_object"), "val", "error")
    place = {image.image_id: row for row, image in enumerate(evaluation.gallery)}
    queries = torch.zeros(2, len(place))
    for row, order in enumerate((["139", "632", "285"], ["285", "724", "776"])):
        for score, image_id in enumerate(reversed(order), start=1):
            queries[row, place[image_id]] = score
    rows = {"queries/model": queries, "gallery/model": torch.eye(len(place))}
    result = evaluate_set(evaluation, rows, {"recall": RecallAtK()}, baselines=False)
    assert [ranked.ranked_ids[:2] for ranked in result.ranked] == [("632", "285"), ("285", "776")]
    assert summary([result]) == {"recall_at_1": 0.0, "recall_at_2": 1.0, "recall_at_3": 1.0}


def test_objects_are_cut_out_as_published(root):
    source = GeneCIS(root, "focus_attribute")
    source.prepare()
    (query,) = source.queries("val")
    assert query.reference_image == "11_50_20_20_10"
    assert query.group_member_ids == ("11_0_0_30_60", "12_5.5_10.25_40_20", "12_20_10_80_50")
    # Left 50 - 0.7 * 20, top 20 - 0.7 * 10, then 1.7 times the box's sides: the crop ends where the box does.
    assert_shows(source, "11_50_20_20_10", pixels(11)[13:30, 36:70], above=8, left=0)
    assert_shows(source, "11_0_0_30_60", pixels(11)[0:60, 0:51], above=0, left=4)
    assert_shows(source, "12_5.5_10.25_40_20", pixels(12)[0:34, 0:68], above=17, left=0)
    assert_shows(source, "12_20_10_80_50", pixels(12)[0:60, 0:100], above=20, left=0)


def assert_shows(source: GeneCIS, image_id: str, expected: np.ndarray, above: int, left: int) -> None:
    with Image.open(source.image_path("val", image_id)) as picture:
        found = np.asarray(picture).astype(int)
    height, width = expected.shape[:2]
    assert found.shape == (max(height, width), max(height, width), 3)
    inside = found[above : above + height, left : left + width]
    assert np.abs(inside - expected).max() <= 4  # JPEG's own loss
    assert found.sum() == inside.sum()  # all else is black


def test_what_is_cut_out_is_left_as_it_is(root):
    source = GeneCIS(root, "focus_attribute")
    source.prepare()
    made = {path: path.stat().st_mtime_ns for path in (root / "crops").iterdir()}
    assert len(made) == 4
    gone = root / "crops" / "12_20_10_80_50.png"
    gone.unlink()
    (root / "crops" / ".12_20_10_80_50.png.1-a.tmp").write_bytes(b"of a killed process")
    GeneCIS(root, "change_attribute").prepare()  # the tasks share them
    assert {path: path.stat().st_mtime_ns for path in (root / "crops").iterdir() if path != gone} == {
        path: time for path, time in made.items() if path != gone
    }
    for picture in (root / "VG_100K_all").iterdir():
        picture.unlink()
    GeneCIS(root, "focus_attribute").prepare()  # nothing is read any more


def test_pictures_that_are_missing_are_counted_before_anything_is_written(root):
    (root / "VG_100K_all/12.jpg").unlink()
    with pytest.raises(ValueError, match=r"1 of 2 pictures .* not in .*VG_100K_all, the first: 12\.jpg; docs/genecis"):
        GeneCIS(root, "focus_attribute").prepare()
    assert not (root / "crops").exists()


def test_the_object_tasks_do_without_visual_genome(root):
    (root / "VG_100K_all").rename(root / "elsewhere")
    for task in TASKS:
        GeneCIS(root, task).prepare()
    assert len(GeneCIS(root, "change_object").gallery("val")) == 5
    with pytest.raises(ValueError, match=r"VG_100K_all is not there, .* focus_attribute .*; docs/genecis\.md says"):
        GeneCIS(root, "focus_attribute").gallery("val")


def test_a_box_outside_of_its_picture_is_named(root):
    edit(root, "focus_attribute", lambda record: record["target"].update(instance_bbox=[300, 0, 20, 20]))
    with pytest.raises(ValueError, match=r"11\.jpg has 100 x 60 pixels, and the box \(300\.0, 0\.0, 20\.0, 20\.0\)"):
        GeneCIS(root, "focus_attribute").prepare()


def edit(root: Path, task: str, change) -> None:
    path = root / "genecis" / f"{task}.json"
    records = json.loads(path.read_text())
    change(records[0])
    path.write_text(json.dumps(records))


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("focus_object", lambda r: r.pop("condition"), r"focus_object\.json, record 0: key 'condition' is missing"),
        ("focus_object", lambda r: r["target"].pop("val_image_id"), r"record 0, key 'target': key 'val_image_id'"),
        ("focus_object", lambda r: r["target"].update(val_image_id=-1), "must be the number of a picture, found -1"),
        ("focus_object", lambda r: r["gallery"][1].clear(), r"record 0, gallery\[1\]: key 'val_image_id' is missing"),
        ("focus_object", lambda r: r.update(gallery=[r["target"]]), "names no image but the target"),
        ("focus_attribute", lambda r: r["reference"].update(image_id="../1"), "'image_id' must be an integer"),
        ("focus_attribute", lambda r: r["reference"].update(instance_bbox=[1, 2, 3]), "left, top, width and height"),
        ("focus_attribute", lambda r: r["reference"].update(instance_bbox=[1, 2, 0, 4]), "left, top, width and height"),
        ("focus_attribute", lambda r: r["reference"].update(instance_bbox=[1, 2, 3, True]), "instance_bbox"),
    ],
)
def test_broken_records(root, task, change, message):
    edit(root, task, change)
    with pytest.raises(ValueError, match=message):
        GeneCIS(root, task).queries("val")


def test_what_it_has_not_is_said(root, tmp_path):
    source = GeneCIS(root, "focus_object")
    with pytest.raises(ValueError, match="no training split"):
        source.triplets("train")
    with pytest.raises(ValueError, match="no split 'test'; choose one of val"):
        source.queries("test")
    with pytest.raises(ValueError, match="no task 'object'; choose one of focus_attribute"):
        GeneCIS(root, "object")
    with pytest.raises(ValueError, match="no record names the image '1'"):
        source.image_path("val", "1")
    nowhere = GeneCIS(tmp_path / "none", "focus_attribute")
    nowhere.prepare()
    with pytest.raises(ValueError, match=r"No GeneCIS data: .*docs/genecis\.md says how to get it"):
        nowhere.queries("val")


def test_the_doctor_finds_it_whole_and_names_what_is_missing(root):
    for task in ("focus_object", "change_attribute"):
        source = GeneCIS(root, task)
        source.prepare()
        (report,) = examine(source, workers=1)
        assert report.healthy
    (root / "val2017/000000000724.jpg").unlink()
    (report,) = examine(GeneCIS(root, "focus_object"), workers=1)
    assert not report.healthy
