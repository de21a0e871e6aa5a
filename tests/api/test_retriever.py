"""What a retriever finds is what an evaluation of its checkpoint finds, and it says what it cannot do."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import diptych
from diptych.api.retriever import Retriever, SearchResult
from diptych.parallel import checkpoints
from diptych.systems import cir
from diptych.systems.retrieval_evaluation import evaluate_set, rank_set
from tiny_runs import run_evaluate

pytestmark = pytest.mark.slow

EXACT = {"device": "cpu", "precision": "32-true"}


def evaluated(run, folder):
    """The records of predictions.jsonl, and the evaluation set with the embeddings that were ranked."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cir, "evaluate_set", lambda *given: seen.append(given[:2]) or evaluate_set(*given))
        data = run.parents[2] / "data"
        run_evaluate(folder, f"ckpt={run}", f"data_dir={data}", "trainer=cpu", "trainer.precision=32-true")
    predictions = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    (given,) = seen
    return predictions, *given


def assert_same_ranking(found, ids, scores):
    """Scores to 1e-5, and each image where it was, but for others of the same score to 1e-5."""
    known = dict(zip(ids, scores, strict=True))
    assert [result.score for result in found] == pytest.approx(scores, abs=1e-5)
    assert [known.get(result.image_id, scores[-1]) for result in found] == pytest.approx(scores, abs=2e-5)
    assert scores[0] - scores[-1] > 1e-3  # there is something to be wrong about


@pytest.mark.parametrize("composer", ["rooms_run", "good4cir_run"])
def test_numbers_are_those_of_an_evaluation(composer, request, tmp_path):
    """Picture and text together are the model; each alone is the baseline of its name, which no file holds."""
    run = request.getfixturevalue(composer)
    predictions, evaluation, rows = evaluated(run, tmp_path / "evaluation")
    retriever = diptych.load_retriever(run, **EXACT)
    retriever.index({image.image_id: image.path for image in evaluation.gallery}, show_progress=False, batch_size=16)
    baselines = {
        name: rank_set(evaluation, rows[f"queries/{name}"], rows["gallery/baseline"])
        for name in ("image_only", "text_only")
    }
    for number in range(0, len(predictions), 5):
        query = evaluation.queries[number]
        picture = evaluation.reference_paths[query.reference_image]
        assert query.query_id == predictions[number]["query_id"]
        found = retriever.search(picture, query.text, k=50)
        assert_same_ranking(found, predictions[number]["ranked_ids"], predictions[number]["scores"])
        composed = [result.score for result in found]
        for name, given in (("image_only", {"image": picture}), ("text_only", {"text": query.text})):
            expected = baselines[name][number]
            assert_same_ranking(retriever.search(**given, k=50), expected.ranked_ids, list(expected.scores))
            assert list(expected.scores) != pytest.approx(composed, abs=1e-4)  # nor is one the other


def test_the_model_has_the_precision_of_an_evaluation(rooms_run, work, monkeypatch):
    """`auto` is what `trainer.precision` resolves to; what is asked for is what is computed in."""
    paths = sorted((work / "data/rooms/images/val_test").rglob("*.jpg"))[:2]
    exact, mixed = (diptych.load_retriever(rooms_run, "cpu", precision=name) for name in ("32-true", "bf16-mixed"))
    for retriever in (exact, mixed):
        retriever.index(paths, show_progress=False)
    difference = [abs(r.search(text="a lamp")[0].score - exact.search(text="a lamp")[0].score) for r in (exact, mixed)]
    assert difference[0] == 0 < difference[1] < 0.05
    monkeypatch.setattr("diptych.config.inference.chosen_precision", lambda choice: "bf16-mixed")
    automatic = diptych.load_retriever(rooms_run, "cpu")
    automatic.index(paths, show_progress=False)
    assert automatic.search(text="a lamp") == mixed.search(text="a lamp")


@pytest.fixture(scope="module")
def retriever(rooms_run) -> Retriever:
    return diptych.load_retriever(rooms_run, **EXACT)


@pytest.fixture
def pictures(tmp_path):
    """Four files of one colour each, one of them in a sub-folder, and one that is no picture."""
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for name, colour in (("b.png", "red"), ("a.jpg", "green"), ("deeper/c.png", "blue"), ("d.png", "white")):
        Image.new("RGB", (40, 30), colour).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    return folder


def test_a_folder_some_files_or_files_by_id(retriever, pictures, monkeypatch):
    (pictures / "broken.jpg").unlink()
    monkeypatch.chdir(pictures)
    assert retriever.index(pictures, show_progress=False) == {}
    assert {r.image_id for r in retriever.search(text="red")} == {"a.jpg", "b.png", "d.png", "deeper/c.png"}
    assert len(retriever) == 4 and "4 images" in repr(retriever)
    retriever.index(["b.png", pictures / "a.jpg"], show_progress=False)
    found = {result.image_id: result.path for result in retriever.search(text="red")}
    assert found == {"b.png": pictures / "b.png", str(pictures / "a.jpg"): pictures / "a.jpg"}
    retriever.index({"first": "b.png"}, show_progress=False)
    (only,) = retriever.search(image="b.png")
    assert only == SearchResult("first", pictures / "b.png", pytest.approx(1.0, abs=1e-6))


def test_what_cannot_be_read_is_named_and_never_dropped_by_itself(retriever, pictures, caplog):
    files = {"good": pictures / "a.jpg", "torn": pictures / "broken.jpg", "gone": pictures / "absent.png"}
    retriever.index(pictures / "deeper", show_progress=False)
    with pytest.raises(ValueError, match=r"2 of 3 images cannot be read: torn: .*broken.jpg.*gone: .*absent.png"):
        retriever.index(files, show_progress=False)
    assert [result.image_id for result in retriever.search(text="red")] == ["c.png"]  # the index of before
    with caplog.at_level(logging.WARNING):
        unreadable = retriever.index(files, on_missing="drop", batch_size=1, num_workers=2, show_progress=False)
    assert set(unreadable) == {"torn", "gone"} and "absent.png" in unreadable["gone"]
    assert "torn" in caplog.text and "gone" in caplog.text
    assert [result.image_id for result in retriever.search(text="red")] == ["good"]
    with pytest.raises(ValueError, match="1 of 1 images cannot be read"):
        retriever.index([pictures / "broken.jpg"], on_missing="drop", show_progress=False)


def test_batches_and_workers_change_no_score(retriever, work):
    folder = work / "data/rooms/images/val_test/block_00"
    scores = []
    for settings in ({"batch_size": 7, "num_workers": 2}, {"batch_size": 64, "num_workers": 0}):
        retriever.index(folder, **settings, show_progress=False)
        scores.append({r.image_id: r.score for r in retriever.search(text="a green sofa", k=1000)})
    assert scores[0] == pytest.approx(scores[1], abs=1e-6) and len(scores[0]) == len(retriever) > 60


def test_excluded_images_are_not_found_and_k_is_kept(retriever, pictures):
    retriever.index(pictures, on_missing="drop", show_progress=False)
    everything = retriever.search(image=pictures / "b.png", k=4)
    assert everything[0].image_id == "b.png"
    assert retriever.search(image=pictures / "b.png", k=2, exclude=["b.png", "unknown"]) == everything[1:3]
    assert retriever.search(image=pictures / "b.png", k=9, exclude="b.png") == everything[1:]


def test_equal_images_stand_in_the_order_of_the_index(retriever, pictures):
    retriever.index(dict.fromkeys(("z", "y", "x"), pictures / "a.jpg"), show_progress=False)
    assert [result.image_id for result in retriever.search(text="anything")] == ["z", "y", "x"]


def test_mistakes_are_named(retriever, rooms_run, pictures):
    with pytest.raises(ValueError, match="nothing is indexed yet: call index"):
        diptych.load_retriever(rooms_run, **EXACT).search(text="a lamp")
    with pytest.raises(ValueError, match="nothing is indexed yet: there is no index to save"):
        diptych.load_retriever(rooms_run, **EXACT).save(pictures / "index")
    retriever.index(pictures / "deeper", show_progress=False)
    for message, given in (
        ("image=, text=, or both", {}),
        ("the text is blank", {"text": " "}),
        ("k=0 must be at least 1", {"text": "a lamp", "k": 0}),
        (r"absent\.png cannot be read", {"image": pictures / "absent.png"}),
    ):
        with pytest.raises(ValueError, match=message):
            retriever.search(**given)
    for message, images in (
        ("there are no images to index", []),
        ("'a.png' is named twice", ["a.png", "a.png"]),
        ("ids of images must be texts; 5 is none", {5: "a.png"}),
        ("is no folder", pictures / "a.jpg"),
    ):
        with pytest.raises(ValueError, match=message):
            retriever.index(images)
    with pytest.raises(ValueError, match="on_missing='skip' is not one of error, drop"):
        retriever.index(pictures, on_missing="skip")


def test_a_text_that_is_too_long_is_said_to_lose_its_end(retriever, pictures, caplog):
    retriever.index(pictures / "deeper", show_progress=False)
    with caplog.at_level(logging.WARNING):
        retriever.search(text="a lamp")
        assert not caplog.records
        retriever.search(text="a lamp and a chair " * 40)
    assert "longer than the model reads" in caplog.text


@pytest.mark.parametrize("composer", ["rooms_run", "good4cir_run"])
def test_a_saved_index_finds_the_same(composer, request, pictures, tmp_path, monkeypatch):
    run = request.getfixturevalue(composer)
    retriever = diptych.load_retriever(run, **EXACT)
    monkeypatch.chdir(pictures)
    retriever.index(["a.jpg", "b.png", "d.png"], show_progress=False)
    retriever.save(tmp_path / "saved/pictures.index")
    again = diptych.load_retriever(run / "checkpoints/best.ckpt", **EXACT)
    monkeypatch.chdir(tmp_path)
    again.load(tmp_path / "saved/pictures.index")
    for given in ({"text": "red"}, {"image": pictures / "b.png"}, {"image": pictures / "b.png", "text": "red"}):
        assert again.search(**given) == retriever.search(**given)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["pictures.index"]


def test_an_index_of_other_weights_is_refused_and_both_are_named(rooms_run, good4cir_run, pictures, tmp_path):
    first, other = (diptych.load_retriever(run, **EXACT) for run in (rooms_run, good4cir_run))
    first.index(pictures / "deeper", show_progress=False)
    first.save(tmp_path / "index")
    other.index(pictures / "deeper", show_progress=False)
    with pytest.raises(ValueError, match=rf"made by {rooms_run.resolve()}.*this retriever is {good4cir_run.resolve()}"):
        other.load(tmp_path / "index")
    assert len(other) == 1
    changed = shutil.copytree(rooms_run.resolve(), tmp_path / "run")
    checkpoint = torch.load(changed / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["state_dict"]["model.projection.bias"][0] += 1e-3
    torch.save(checkpoint, changed / "checkpoints/best.ckpt")
    with pytest.raises(ValueError, match="made by"):
        diptych.load_retriever(changed, **EXACT).load(tmp_path / "index")


def test_damaged_index_files_are_refused(retriever, pictures, tmp_path):
    retriever.index(pictures / "deeper", show_progress=False)
    retriever.save(tmp_path / "index")
    whole = (tmp_path / "index").read_bytes()
    for content in (whole[:-4], whole[:100], b"", np.random.default_rng(0).bytes(200)):
        (tmp_path / "index").write_bytes(content)
        with pytest.raises(ValueError, match="index is a damaged index"):
            retriever.load(tmp_path / "index")
    with pytest.raises(ValueError, match="there is no such index file"):
        retriever.load(tmp_path / "absent")


def test_only_retrieval_checkpoints_that_name_nothing_else_are_opened(rooms_run, newsroom_run, tmp_path):
    with pytest.raises(ValueError, match="holds no image backbone"):
        diptych.load_retriever(newsroom_run)
    with pytest.raises(ValueError, match="there is no such checkpoint file"):
        diptych.load_retriever(tmp_path / "absent.ckpt")
    with pytest.raises(ValueError, match="device='toaster' cannot be used"):
        diptych.load_retriever(rooms_run, "toaster")
    with pytest.raises(ValueError, match="precision='8-true' is not one of auto, 32-true"):
        diptych.load_retriever(rooms_run, precision="8-true")
    checkpoint = torch.load(rooms_run / "checkpoints/best.ckpt", weights_only=True)
    text = checkpoints.config_text(checkpoint)
    checkpoint["diptych"]["config"] = text.replace(
        "diptych.models.composers.cross_attention_composer.CrossAttentionComposer", "os.system"
    )
    assert checkpoint["diptych"]["config"] != text
    torch.save(checkpoint, tmp_path / "evil.ckpt")
    with pytest.raises(ValueError, match=r"os\.system is not allowed in a checkpoint's config"):
        diptych.load_retriever(tmp_path / "evil.ckpt")
