"""What people type by mistake: one line that says what to type, at once, and no folder is left."""

from __future__ import annotations

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from diptych.commands.main import main
from diptych.config import resolvers

ROOMS = "experiment=cir_rooms"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with one run of a training in it, and what `diptych` with some words leaves and says there."""
    monkeypatch.chdir(tmp_path)
    for name in ("DIPTYCH_DATA", "DIPTYCH_RUNS", "DIPTYCH_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    run = tmp_path / "runs/r48/2026-01-01_00-00-00"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("name: r48\n")
    (run / "checkpoints/best.ckpt").write_bytes(b"none")
    (tmp_path / "runs/r48/latest").symlink_to(run.name)
    yield tmp_path
    GlobalHydra.instance().clear()
    resolvers._new_folder.cache_clear()


def answer(place, words, monkeypatch, capsys):
    """The one line that the command says; it failed, and the folder is as it was."""
    there = sorted(place.rglob("*"))
    monkeypatch.setattr(sys, "argv", ["diptych", *words])
    assert main(words) in (1, 2)
    assert sorted(place.rglob("*")) == there
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("error: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        # What is not written as a setting.
        ("evaluate runs/r48/latest", "'runs/r48/latest' is no setting: type ckpt=runs/r48/latest"),
        ("evaluate answers.json", "type predictions=answers.json"),
        ("evaluate --ckpt runs/r48/latest", "without dashes: ckpt=runs/r48/latest"),
        ("evaluate --ckpt=runs/r48/latest", "without dashes: ckpt=runs/r48/latest"),
        ("train --experiment cir_rooms", "without dashes: experiment=cir_rooms"),
        ("train cir_rooms", "'cir_rooms' is no setting: type experiment=cir_rooms"),
        ("train runs/r48/latest", "type resume=runs/r48/latest"),
        ("train nonsense", "is no setting: they are written key=value"),
        ("pipeline news_retrieval", "type pipeline=news_retrieval"),
        (f"train {ROOMS} data=[cirr, hotel_cir]", "type 'data=[cirr,hotel_cir]'"),
        (f"train {ROOMS} data=[ cirr , hotel_cir ]", "type 'data=[cirr,hotel_cir]'"),
        (f"train {ROOMS} data.root=my folder/shop", """type "data.root='my folder/shop'\""""),
        (f"train {ROOMS} data=cirr,hotel_cir", "as a list 'data=[cirr,hotel_cir]'"),
        # Names that there are not.
        ("train experiment=cir_room", "Did you mean 'cir_rooms'"),
        (f"train {ROOMS} lr=1", "unknown key 'lr'. Did you mean 'system.optimizer.lr'?"),
        (f"train {ROOMS} batch_size=1", "Did you mean 'data.training.batch_size'"),
        (f"train {ROOMS} trainer.maxsteps=1", "Did you mean 'trainer.max_steps'?"),
        (f"train {ROOMS} nonsense=1", "unknown key 'nonsense'. Known: data, system, trainer, callbacks"),
        (f"train {ROOMS} +system.optimizer.lrr=1", "Did you mean 'system.optimizer.lr'?"),
        (f"train {ROOMS} system/metrics=ndcg", "there is no system/metrics=ndcg. Known: bleu, "),
        (f"train {ROOMS} system/metrics=[recal_at_k]", "Did you mean 'recall_at_k'"),
        ("evaluate ckpt=runs/r48/latest metrics=[recal_at_k]", "Did you mean 'recall_at_k'"),
        (f"train {ROOMS} data=[cirr,hotel_cr]", "there is no data=hotel_cr. Did you mean 'hotel_cir'?"),
        (f"train {ROOMS} callbacks=[default,early_stoping]", "Did you mean 'early_stopping'?"),
        (f"train {ROOMS} trainer.fast_dev_run=true", "Here debug=fast"),
        (f"train {ROOMS} trainer.max_epochs=3", "Here trainer.max_steps is the length"),
        # Runs and checkpoints that are elsewhere.
        ("train resume=runs/r48", "holds runs, and is none itself; type resume=runs/r48/latest"),
        ("train resume=latest", "the latest run is resume=runs/r48/latest"),
        ("train resume=runs/r4/latest", "did you mean resume=runs/r48/latest?"),
        ("train resume=runs/TYPO", "resume=runs/TYPO: there is no such folder"),
        ("evaluate ckpt=runs/r48", "type ckpt=runs/r48/latest"),
        ("evaluate ckpt=runs/r4/latest", "did you mean ckpt=runs/r48/latest?"),
        ("evaluate ckpt=runs/r48/latest/config.yaml", "is no checkpoint; type ckpt=runs/r48/latest"),
        (
            "evaluate ckpt=runs/r48/latest/checkpoints/bets.ckpt",
            "did you mean ckpt=runs/r48/latest/checkpoints/best.ckpt",
        ),
        ("evaluate ckpt=typo.ckpt", "ckpt=typo.ckpt: there is no such file or folder"),
        (f"train {ROOMS} init_from=runs/r48", "type init_from=runs/r48/latest"),
        # Paths of Windows.
        (rf"train {ROOMS} data_dir=C:\Users\me\data", "is a path as Windows writes it"),
        (f"train {ROOMS} data.root=D:/data", "is a path as Windows writes it"),
        (r"evaluate ckpt=runs\r48\latest", "type ckpt=runs/r48/latest"),
        (r"doctor data=cirr data.root=C:\data", "is a path as Windows writes it"),
        (r"search ckpt=C:\x images=.", "is a path as Windows writes it"),
    ],
)
def test_a_mistake_is_answered_by_what_to_type(words, said, place, monkeypatch, capsys):
    assert said in answer(place, words.split(" "), monkeypatch, capsys)
