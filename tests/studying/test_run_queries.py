"""What runs were asked and answered, read from folders as runs leave them."""

import json
from pathlib import Path

import pytest
import yaml

from diptych.config.resolvers import register_resolvers
from diptych.studying.run_answers import Answer, read_answers
from diptych.studying.run_queries import Picture, read_queries

ASSETS = Path(__file__).resolve().parents[1] / "assets"


@pytest.fixture(autouse=True)
def _resolvers():
    register_resolvers()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content) if path.suffix == ".yaml" else json.dumps(content))


def data(root, **changes):
    """The data section of a config, of own triplets."""
    target = "diptych.data.triplets.triplet_jsonl.TripletJSONL"
    source = {"_target_": target, "root": "${data_dir}/none", "name": "own_data"} | {"root": str(root)} | changes
    return {"_target_": "the.datamodule", "batch_size": "${system.batch_size}", "sources": {"own_data": source}}


def evaluation(folder, root, run):
    """An evaluation of the checkpoint in `run`, on the data that it was trained on, with one setting changed."""
    write(run / "config.yaml", {"data": data("/nowhere"), "data_dir": "/nowhere"})
    changed = {"sources": {"own_data": {"root": str(root)}}}
    write(folder / ".hydra/config.yaml", {"ckpt": str(run), "data": changed, "data_dir": "x", "split": "val"})
    result = {"checkpoint": str(run / "checkpoints/best.ckpt"), "data": ["own_data"], "split": "val", "metrics": {}}
    write(folder / "metrics.json", result)
    return folder


def test_an_evaluation_is_of_its_checkpoint_s_data(tmp_path):
    asked = read_queries(evaluation(tmp_path / "evaluate", ASSETS / "jsonl", tmp_path / "train"))
    first = asked["v1"]
    assert list(asked) == ["v1", "v2"] and first.text and not first.reference_captions
    assert first.picture == Picture("images/a.png", ASSETS / "jsonl/images/a.png")
    assert first.target == Picture("images/b.png", ASSETS / "jsonl/images/b.png")
    assert first.find("../../secret.png") == Picture("../../secret.png", None)


def test_queries_of_several_sets_are_named_by_their_sets(tmp_path):
    both = data(ASSETS / "jsonl")
    both["sources"]["other"] = both["sources"]["own_data"] | {"name": "other"}
    write(tmp_path / ".hydra/config.yaml", {"data": both, "data_dir": "x", "seed": 1})
    write(tmp_path / "metrics.json", {"data": ["own_data", "other"], "split": "val", "metrics": {}})
    assert list(read_queries(tmp_path)) == ["own_data/v1", "own_data/v2", "other/v1", "other/v2"]
    lines = [
        {"set": name, "query_id": "v1", "ranked_ids": ["b"], "target_rank": rank}
        for name, rank in (("own_data", 1), ("other", 7))
    ]
    (tmp_path / "predictions.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    answers = {"own_data/v1": Answer(found=("b",), rank=1), "other/v1": Answer(found=("b",), rank=7)}
    assert read_answers(tmp_path, {}) == answers


def test_a_pipeline_over_news_photos_has_the_rank_of_the_right_article(tmp_path):
    target = "diptych.data.news.openevents.OpenEvents"
    source = {"_target_": target, "root": str(ASSETS / "openevents"), "val_share": 0.0}
    write(tmp_path / ".hydra/config.yaml", {"data": {"sources": {"openevents": source}}, "split": "train"})
    found = [("x1", "other"), ("x2", "other"), ("x3", "0000000000000012")]
    results = [{"image_id": image, "article_id": article, "score": 0.5} for image, article in found]
    ranked = [{"query_id": "00000000000000b1", "results": results}, {"query_id": "unknown", "results": []}]
    write(tmp_path / "articles/retrieval.json", ranked)
    asked = read_queries(tmp_path)
    first = asked["00000000000000b1"]
    assert first.article_id == "0000000000000012" and len(first.reference_captions) == 2 and first.target is None
    answers = read_answers(tmp_path, asked)
    assert answers == {"00000000000000b1": Answer(found=("x1", "x2", "x3"), rank=2), "unknown": Answer()}


def test_what_says_nothing_of_its_data_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"config.yaml is not there"):
        read_queries(tmp_path)


def test_captions_of_an_evaluation_and_of_a_pipeline(tmp_path):
    for folder in (tmp_path / "evaluate", tmp_path / "pipeline/caption"):
        folder.mkdir(parents=True)
        (folder / "predictions.jsonl").write_text('{"query_id": "p1", "caption": "A fire.", "stop_reason": "end"}\n')
    for name in ("evaluate", "pipeline"):
        assert read_answers(tmp_path / name, {}) == {"p1": Answer(caption="A fire.")}
    assert read_answers(tmp_path / "none", {}) == {}


def test_an_audit_shows_the_pair_and_what_was_said_of_it(tmp_path):
    pairs = [{"pair_id": "p1", "reference_image": "a.png", "target_image": "b.png"}]
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    write(tmp_path / "pairs.json", pairs)
    write(tmp_path / "audit/config.yaml", {"pairs": str(tmp_path / "pairs.json"), "images_root": None, "data": {}})
    said = {"sentences": ["Make the bed red.", "Add a lamp."], "verdicts": ["right", "hallucinated"]}
    write(tmp_path / "audit/audit_triplets/audit.json", {})
    write(tmp_path / "audit/audit_triplets/records.jsonl", {"pair_id": "p1", "ways": {"said": said}})
    with (tmp_path / "audit/audit_triplets/records.jsonl").open("a") as file:
        file.write("\n")
    asked = read_queries(tmp_path / "audit")
    assert (asked["p1"].picture.path, asked["p1"].target.path) == (tmp_path / "a.png", tmp_path / "b.png")
    answers = read_answers(tmp_path / "audit", asked)
    assert answers == {"p1": Answer("Make the bed red. (right) Add a lamp. (hallucinated)")}
