"""`validate=true`: what a command would take and lacks, and no trace of it."""

from __future__ import annotations

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from diptych.commands.main import main
from tiny_runs import TINY_MODEL, TINY_ROOMS_SIZES, TINY_RUN, run_evaluate, run_train
from tiny_sets import tiny_set

ROOMS = ["experiment=cir_rooms", *TINY_MODEL, *TINY_RUN, *TINY_ROOMS_SIZES]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    tiny_set("rooms", folder / "rooms")
    return folder


@pytest.fixture
def validated(data, tmp_path, monkeypatch, capsys):
    """Exit status and output of a command with `validate=true`, which has left nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIPTYCH_DATA", str(data))
    monkeypatch.delenv("DIPTYCH_RUNS", raising=False)

    def call(*words):
        there = [sorted(folder.rglob("*")) for folder in (tmp_path, data)]
        monkeypatch.setattr(sys, "argv", ["diptych", *words, "validate=true"])
        status = main([*words, "validate=true"])
        assert [sorted(folder.rglob("*")) for folder in (tmp_path, data)] == there
        GlobalHydra.instance().clear()
        return status, "".join(capsys.readouterr())

    return call


def test_a_training_says_steps_passes_parameters_memory_and_its_config(validated):
    status, said = validated("train", *ROOMS, "trainer.max_steps=30", "trainer.accumulate_grad_batches=2")
    assert status == 0, said
    assert "max_steps: 30" in said and "steps: 30 of 16 triplets (8 x 2 batches x 1 processes)" in said
    assert "rooms: 24 triplets to train on" in said and "passes over the data: 20.0" in said
    assert "adds no negatives: each of the 2 batches" in said
    assert "M trained" in said and "4 bytes x (parameters + 3 x trained" in said
    assert "8 x 2 x 3 x 32 x 32 bytes" in said
    assert "Missing:\n  nothing" in said


def test_what_is_missing_is_listed_and_the_status_is_1(validated):
    status, said = validated("train", "experiment=cir_cirr", "init_from=runs/x")
    assert status == 1
    assert "No cirr data: looked in" in said and "init_from=runs/x: there is no such file" in said
    assert "ViT-B-32/openai (system.model.backbone.name), which would be downloaded" in said
    status, said = validated("train", "experiment=cir_rooms", "data_dir=elsewhere")
    assert status == 0 and "rooms: would be made first, in " in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", *ROOMS, "system.optimizer.lr=fast"], "system.optimizer.lr='fast': expected float"),
        (["train", *ROOMS, "data.training.batch_size=96"], "lower data.training.batch_size, to 24 at most"),
        (["train", "experiment=cir_rooms", "data=newsroom"], "data holds news photos"),
        (["train", "-m", *ROOMS], "validate=true looks at one run"),
        (["evaluate", "ckpt=nowhere"], "ckpt=nowhere: there is no such file"),
        (["evaluate"], "say what to evaluate"),
        (["pipeline", "pipeline=propose_pairs", "output=p.jsonl"], "pipeline=propose_pairs needs images=..."),
    ],
)
def test_what_is_wrong_is_said_as_by_the_command_itself(words, said, validated):
    status, output = validated(*words)
    assert status == 1 and said in output and "It would take:" not in output


def test_an_evaluation_says_what_its_checkpoint_is_and_how_many_queries(validated, data, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    run_train(tmp_path / "run", *ROOMS, f"data_dir={data}", "evaluate_at_end=false")
    status, said = validated("evaluate", f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}", "split=test")
    assert status == 0, said
    assert "checkpoint: cir_rooms at step 2, weights of" in said and "rooms: 168 queries of the split test" in said


def test_a_pipeline_lists_its_stages_and_their_folders(validated):
    status, said = validated(
        "pipeline", "pipeline=propose_pairs", "images=nothere", "output=p.jsonl", "encoder=colour_layout"
    )
    assert status == 1
    assert "embed_images: EmbedPhotos, in runs/propose_pairs/embed_images (new)" in said
    assert "images=nothere: there is no such file or folder" in said


def test_a_run_is_not_evaluated_or_resumed_on_a_set_that_is_made_again_in_another_folder(data, tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(sys, "argv", ["train.py"])
    run = home / "runs/rooms/one"
    run_train(run, *ROOMS, f"data_dir={data}", "evaluate_at_end=false", "trainer.max_steps=1")
    (home / "data").symlink_to(data)
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("DIPTYCH_DATA", raising=False)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(f"data_dir: {data}", "data_dir: data"))
    for call in (
        lambda: run_train(run, f"resume={run}"),
        lambda: run_evaluate(tmp_path / "out", f"ckpt={run / 'checkpoints/last.ckpt'}"),
    ):
        with pytest.raises(ValueError, match=f"looked in {elsewhere}/data/rooms; it is in {home}/data: data_dir="):
            call()
    assert not list(elsewhere.iterdir())
    assert run_evaluate(tmp_path / "out", f"ckpt={run / 'checkpoints/last.ckpt'}", f"data_dir={home}/data")
