"""A ranking that is planted, and the pairs that must come of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.data.pairs.image_folder import ImageFolder
from diptych.data.pairs.image_pairs import read_pairs
from diptych.index.embedding_store import EmbeddingStore
from diptych.stages.annotation.mine_failures import MineFailures
from diptych.storage.record_log import RecordFile

# Each image is an axis of space; x/copy_of_d has the content of x/d, and so its embedding.
IMAGES = ["x/a", "x/b", "x/c", "x/copy_of_d", "x/d", "y/e", "y/f", "z/g"]
# What each query is embedded as: images with their scores, target among them.
QUERIES = {
    "found": ("x/a", "x/b", {"x/b": 0.9, "x/a": 0.5}),
    "kept": ("x/c", "x/a", {"x/c": 0.9, "x/b": 0.7, "x/a": 0.5, "x/d": 0.1}),
    "copy": ("x/b", "x/d", {"x/c": 0.6, "x/d": 0.5}),
    "elsewhere": ("y/e", "y/f", {"z/g": 0.9, "y/f": 0.4, "y/e": 0.3}),
}


class Planted:
    """Embeds a query as `QUERIES` says, which it knows by its text."""

    def load(self):
        pass

    def embed_queries(self, paths, texts):
        rows = torch.zeros(len(texts), len(IMAGES))
        for row, text in enumerate(texts):
            for image, score in QUERIES[text.split()[1]][2].items():
                rows[row, IMAGES.index(image)] = score
                if image == "x/d":
                    rows[row, IMAGES.index("x/copy_of_d")] = score
        return rows


@pytest.fixture
def place(tmp_path):
    for number, name in enumerate(IMAGES):
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (20 * (number if name != "x/copy_of_d" else number + 1), 0, 0)).save(path)
    sink = EmbeddingStore(tmp_path / "embedded", "image_id", dtype="float32")
    names = [f"{name}.png" for name in IMAGES]
    sink.append({"image_id": name, "embedding": row} for name, row in zip(names, np.eye(len(names)), strict=True))
    sink.finish(names)
    lines = []
    for name, (reference, target, _) in QUERIES.items():
        for image in (reference, target):
            copy = tmp_path / "set" / "images" / f"{image.replace('/', '_')}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((tmp_path / "images" / f"{image}.png").read_bytes())
        images = {
            key: f"images/{image.replace('/', '_')}.png"
            for key, image in (("reference_image", reference), ("target_image", target))
        }
        lines.append({"query_id": name, "modification_texts": ["Short.", f"Text {name} says most."], **images})
    write_set(tmp_path, lines)
    return tmp_path


def write_set(place, lines):
    (place / "set" / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_set(place):
    return [json.loads(line) for line in (place / "set" / "train.jsonl").read_text().splitlines()]


def mine(place, groups="folder", **settings):
    """The pairs as short names, and the counts."""
    stage = MineFailures(
        ImageFolder(place / "images", groups),
        place / "embedded",
        Planted(),
        place / "set",
        output=place / "pairs.jsonl",
        **{"num_pairs": 9, **settings},
    )
    sink = RecordFile(place / "stage", "query_id")
    sink.append(stage.process(stage.ids()))
    sink.finish(stage.ids())
    stage.write_output(place / "stage", [])
    records = sink.records()
    sink.path.unlink()
    pairs = read_pairs(place / "pairs.jsonl").pairs
    names = [tuple(Path(image).stem for image in (pair.reference_image, pair.target_image)) for pair in pairs]
    return names, json.loads((place / "stage" / "failures.json").read_text()), records


def test_exactly_what_outranks_a_target_becomes_a_pair(place):
    names, counts, records = mine(place, num_pairs=3)
    # kept: its reference came first, so the way back; then c with b. copy: b with c.
    assert sorted(names) == [("a", "c"), ("b", "c"), ("c", "b")]
    assert {*names[:2]} == {("a", "c"), ("b", "c")}  # the worst failure of each query first
    missed = {"other_group": 1, "reference": 1, "same_group": 1}
    numbers = counts.pop("near_misses")
    assert counts == {"queries": 4, "found": 1, "missed_for": missed, "failures": 3, "pairs": 3}
    assert (records["kept"]["rank"], records["kept"]["reference_rank"]) == (3, 1)
    assert (records["elsewhere"]["rank"], records["elsewhere"]["above"]) == (2, [])  # z/g is no room of y
    line = json.loads((place / "pairs.jsonl").read_text().splitlines()[-1])
    assert line["group"] == "x" and line["query_ids"] == ["kept"]
    more = mine(place, num_pairs=99)[0]
    assert more[:3] == names and len(more) == 3 + numbers and ("a", "b") not in more


def test_one_content_is_one_image_and_never_its_own_failure(place):
    _, _, records = mine(place)
    # Of equal scores the copy stands first, and it is the target.
    assert records["copy"]["above"] == ["x/c.png"] and records["copy"]["target"] == "x/copy_of_d.png"


def test_what_has_a_text_or_is_accepted_is_no_new_pair(place):
    lines = read_set(place)
    images = {"reference_image": "images/x_c.png", "target_image": "images/x_b.png"}
    write_set(place, [*lines, {"query_id": "known", "modification_texts": ["Text found again."], **images}])
    assert ("c", "b") not in mine(place, num_pairs=99)[0]
    (place / "set/images/x_c.png").write_bytes((place / "images/x/c.png").read_bytes())
    lines[2]["relevant_ids"] = [lines[2]["target_image"], "images/x_c.png"]  # b with c is right, too
    write_set(place, lines)
    assert ("b", "c") not in mine(place, num_pairs=99)[0]


def test_the_budget_is_kept_and_the_draw_is_that_of_the_seed(place):
    first, counts, _ = mine(place, num_pairs=1)
    assert len(first) == 1 and (counts["failures"], counts["pairs"]) == (3, 1)
    content = (place / "pairs.jsonl").read_bytes()
    assert mine(place, num_pairs=1)[0] == first and (place / "pairs.jsonl").read_bytes() == content
    assert {mine(place, num_pairs=1, seed=seed)[0][0] for seed in range(6)} == {("a", "c"), ("b", "c")}


def test_without_groups_any_image_can_be_a_failure(place):
    assert ("e", "g") in mine(place, groups=None)[0]


def test_beside_are_random_pairs_of_the_same_references(place):
    names, counts, _ = mine(place, choose="beside")
    assert counts["beside"] == len(names) == 6  # a, b and c with two others each; of y there is nothing more
    assert {reference for reference, _ in names} == {"a", "b", "c"} and ("a", "b") not in names


def test_what_cannot_be_is_said(place):
    with pytest.raises(ValueError, match="choose=worst: one of failures, beside"):
        mine(place, choose="worst")
    with pytest.raises(ValueError, match="num_pairs=0: want at least 1"):
        mine(place, num_pairs=0)
    write_set(place, read_set(place)[3:])
    assert mine(place)[0] == [("f", "e")]
