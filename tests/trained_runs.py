"""Tiny trained systems, as `train.py` leaves them, in one folder, as fixtures: `runs/<name>/latest` and `data/`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tiny_runs import (
    TINY_MODEL,
    TINY_NEWS_SIZES,
    TINY_ROOMS_SIZES,
    TINY_RUN,
    WITHOUT_ENTITIES,
    run_train,
    tiny_captions,
)
from tiny_sets import tiny_set

# The experiment's settings are those of another model.
GOOD4CIR = ["system/model=good4cir", "~system.model.feed_forward_ratio", "~system.model.dropout"]


@pytest.fixture(scope="session")
def work(tmp_path_factory) -> Path:
    """The folder; `data/rooms` and `data/newsroom` are in it."""
    folder = tmp_path_factory.mktemp("python")
    tiny_set("rooms", folder / "data/rooms")
    tiny_set("newsroom", folder / "data/newsroom")
    return folder


def train(run: Path, *overrides: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py"])
        run_train(run, *overrides, "evaluate_at_end=false")
    return run.parent / "latest"


def train_rooms(work: Path, name: str, *overrides: str) -> Path:
    sizes = [f"data_dir={work / 'data'}", *TINY_ROOMS_SIZES]
    return train(work / f"runs/{name}/first", "experiment=cir_rooms", *overrides, *sizes, *TINY_MODEL, *TINY_RUN)


@pytest.fixture(scope="session")
def rooms_run(work) -> Path:
    return train_rooms(work, "cir_rooms")


@pytest.fixture(scope="session")
def good4cir_run(work) -> Path:
    return train_rooms(work, "good4cir", *GOOD4CIR)


@pytest.fixture(scope="session")
def newsroom_run(work, tiny_chat_model, tiny_sentence_model) -> Path:
    tiny = tiny_captions(work / "data", tiny_chat_model, tiny_sentence_model)
    longer = "system.generator.settings.max_new_tokens=24"
    sizes = [*TINY_NEWS_SIZES, *WITHOUT_ENTITIES]
    return train(work / "runs/fuser_newsroom/first", "experiment=fuser_newsroom", *tiny, *sizes, longer)
