"""A vision-language embedder is scored as it comes, trained, scored again, and searched with."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import diptych
from diptych.parallel import checkpoints
from tiny_runs import TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train
from tiny_vlms import pictures, save_tiny_vlm

pytestmark = [pytest.mark.slow, pytest.mark.models]


@pytest.fixture(scope="module")
def words(tmp_path_factory, tiny_chat_model):
    """The settings of both kinds of runs."""
    folder = save_tiny_vlm(tmp_path_factory.mktemp("vlm"), tiny_chat_model, "qwen3_vl")
    return [
        "system/model=qwen3_vl_embedder",
        f"system.model.backbone.name={folder}",
        "system.model.backbone.dtype=float32",
        "system.model.backbone.adapter.rank=4",
        "system.model.backbone.preprocessing.image_size=64",
        f"data_dir={tmp_path_factory.mktemp('data')}",
        "data.evaluation.batch_size=16",
        *TINY_ROOMS_SIZES,
    ]


def test_it_is_scored_without_training_by_the_same_protocol(words, tmp_path):
    record = run_evaluate(
        tmp_path / "run",
        *("system=zero_shot", "data=rooms", "split=test", "data.num_workers=0", *words),
        *("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false"),
    )
    assert record["queries"]["scored"] == record["queries"]["expected"] > 0
    assert record["protocol"]["name"] == "rooms_test"
    assert {"recall_at_1", "sum/recall_at_1", "image_only/recall_at_1", "text_only/recall_at_1"} <= set(
        record["metrics"]
    )


def test_it_is_trained_in_pieces_scored_again_and_searched_with(words, tmp_path):
    run_train(
        tmp_path / "run",
        *("name=vlm", "data=rooms", "system/scheduler=warmup_cosine", *TINY_RUN, *words),
        *("system.micro_batch_size=3", "system.optimizer.lr=0.01", "system.scheduler.warmup_steps=1"),
        *("trainer.val_check_interval=2", "callbacks.checkpointing.monitor=val/recall_at_1"),
    )
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    weights = checkpoints.load(path)["state_dict"]
    assert all("lora_" in name or name.startswith("loss.") for name in weights)
    assert any("lora_B" in name and tensor.any() for name, tensor in weights.items())
    data_dir = next(word for word in words if word.startswith("data_dir="))
    ended = json.loads((tmp_path / "run" / "metrics.json").read_text())
    again = run_evaluate(
        tmp_path / "again", f"ckpt={tmp_path}/run", "split=val", "trainer=cpu", "trainer.precision=32-true", data_dir
    )
    assert again["queries"]["scored"] == again["queries"]["expected"] > 0
    for name, value in ended["metrics"].items():
        assert again["metrics"][name] == pytest.approx(value, abs=1e-6), name
    found = searched(path, tmp_path)
    assert found[0].image_id == "2" and found[0].score == pytest.approx(1, abs=1e-5)


def searched(path, folder):
    """What a picture finds among three, itself among them, by a retriever of the checkpoint."""
    retriever = diptych.load_retriever(path, device="cpu")
    for number, pixels in enumerate(pictures(3, 40)):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    retriever.index({str(number): folder / f"{number}.png" for number in range(3)})
    assert len(retriever.search(image=folder / "0.png", text="make it darker", k=3)) == 3
    assert len(retriever.search(text="dark", k=3)) == 3
    return retriever.search(image=folder / "2.png", k=1)
