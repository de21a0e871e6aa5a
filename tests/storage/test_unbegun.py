from __future__ import annotations

import fcntl

import pytest

from diptych.storage.unbegun import remove_unbegun


@pytest.fixture
def folder(tmp_path):
    """What Hydra and a training that failed at once leave in `runs`."""
    made = tmp_path / "runs/name/date"
    (made / ".hydra").mkdir(parents=True)
    for name in (".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "training.log", ".lock"):
        (made / name).write_text("x")
    (made / "status.json").write_text("{}")
    return made


def test_bookkeeping_alone_goes_with_the_folders_above_it_that_are_empty(folder, tmp_path):
    assert remove_unbegun(folder, tmp_path / "runs")
    assert not (tmp_path / "runs").exists() and tmp_path.exists()


def test_the_folder_of_all_runs_stays_where_it_was_there_before(folder, tmp_path):
    assert remove_unbegun(folder, tmp_path / "runs", with_it=False)
    assert (tmp_path / "runs").is_dir() and not any((tmp_path / "runs").iterdir())


def test_of_the_folders_above_it_those_stay_that_hold_more_or_lie_elsewhere(folder, tmp_path):
    (tmp_path / "runs/other").mkdir()
    assert remove_unbegun(folder, tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]
    elsewhere = tmp_path / "a/b"
    elsewhere.mkdir(parents=True)
    assert remove_unbegun(elsewhere, tmp_path / "runs")
    assert (tmp_path / "a").is_dir()


@pytest.mark.parametrize("name", ["config.yaml", "metrics.csv", "checkpoints/last.ckpt", "logs/own.log", ".hydra/mine"])
def test_a_folder_with_anything_else_in_it_stays_as_it_is(folder, tmp_path, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("x")
    there = sorted(folder.rglob("*"))
    assert not remove_unbegun(folder, tmp_path / "runs")
    assert sorted(folder.rglob("*")) == there


def test_a_link_is_followed_by_nobody_and_keeps_the_folder(folder, tmp_path):
    (tmp_path / "mine.log").write_text("x")
    (folder / "evaluation.log").symlink_to(tmp_path / "mine.log")
    remove_unbegun(folder, tmp_path / "runs")
    assert (tmp_path / "mine.log").read_text() == "x"
    (tmp_path / "link").symlink_to(tmp_path)
    assert not remove_unbegun(tmp_path / "link", tmp_path)


def test_where_another_process_is_at_work_everything_stays(folder, tmp_path):
    with (folder / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert not remove_unbegun(folder, tmp_path / "runs")
    assert (folder / ".hydra/config.yaml").is_file()
    assert remove_unbegun(folder, tmp_path / "runs")
