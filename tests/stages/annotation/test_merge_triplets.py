"""Sets of several rounds as one."""

import json

import pytest

from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.stages.annotation.merge_triplets import MergeTriplets
from diptych.storage.record_log import RecordFile


def write_set(folder, *triplets):
    """`triplets` are query id, reference, texts and target; an image's content is its name."""
    lines = []
    for query_id, reference, texts, target in triplets:
        names = [f"images/{name}.png" for name in (reference, target)]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
        line = {"query_id": query_id, "reference_image": names[0], "modification_texts": texts}
        lines.append({**line, "target_image": names[1], "group": "g"})
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def merge(*folders, out):
    stage = MergeTriplets(folders, out)
    sink = RecordFile(out / "work", "query_id")
    results = list(stage.process(stage.ids()))
    failures = [one for one in results if not isinstance(one, dict)]
    sink.append(one for one in results if isinstance(one, dict))
    sink.finish(stage.ids())
    stage.write_output(out / "work", failures)
    return failures


def test_the_merged_set_has_the_triplets_of_all_with_each_image_once(tmp_path):
    first = write_set(tmp_path / "first", ("p", "a", ["Red."], "b"))
    second = write_set(tmp_path / "second", ("q", "a", ["Blue.", "Small."], "c"))
    assert merge(first, second, out=tmp_path / "all") == []
    source = TripletJSONL(tmp_path / "all")
    assert [(one.query_id, one.modification_texts, one.group) for one in source.triplets("train")] == [
        ("p", ("Red.",), "g"),
        ("q", ("Blue.", "Small."), "g"),
    ]
    assert sorted(path.name for path in (tmp_path / "all/images").iterdir()) == ["a.png", "b.png", "c.png"]
    counts = {"triplets": 2, "texts": 3, "images": 3, "ambiguous": 0}
    assert json.loads((tmp_path / "all/summary.json").read_text()) == counts


def test_a_text_that_a_reference_has_with_another_target_is_left_out(tmp_path):
    first = write_set(tmp_path / "first", ("p", "a", ["Red."], "b"), ("same", "a", ["Red."], "b"))
    second = write_set(tmp_path / "second", ("q", "a", ["Red.", "Small."], "c"), ("r", "a", ["Red."], "d"))
    (failure,) = merge(first, second, out=tmp_path / "all")
    assert (failure.record_id, failure.reason) == ("r", "ambiguous")
    texts = {one.query_id: one.modification_texts for one in TripletJSONL(tmp_path / "all").triplets("train")}
    assert texts == {"p": ("Red.",), "same": ("Red.",), "q": ("Small.",)}


def test_one_id_of_two_triplets_and_one_name_of_two_pictures_are_refused(tmp_path):
    first, second = (write_set(tmp_path / name, ("p", "a", ["Red."], "b")) for name in ("first", "second"))
    with pytest.raises(ValueError, match=r"second and .*first both have a triplet 'p'"):
        merge(first, second, out=tmp_path / "all")
    with pytest.raises(ValueError, match="folders is empty"):
        MergeTriplets([], tmp_path)
