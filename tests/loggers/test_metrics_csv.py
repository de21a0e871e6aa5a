from __future__ import annotations

import csv
from pathlib import Path

import pytest

from diptych.loggers.metrics_csv import MetricsCSV


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of 30 steps, logged every 10, validated at 20."""
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"train/loss": 3.0}, step=9)
    logger.log_metrics({"train/loss": 2.0}, step=19)
    logger.log_metrics({"val/recall_at_1": 0.5, "epoch": 0}, step=19)
    logger.log_metrics({"train/loss": 1.0}, step=29)
    return tmp_path


def test_a_row_per_logged_step_and_a_column_per_metric(run):
    assert rows(run) == [
        {"step": "9", "train/loss": "3.0", "val/recall_at_1": "", "epoch": ""},
        {"step": "19", "train/loss": "2.0", "val/recall_at_1": "", "epoch": ""},
        {"step": "19", "train/loss": "", "val/recall_at_1": "0.5", "epoch": "0"},
        {"step": "29", "train/loss": "1.0", "val/recall_at_1": "", "epoch": ""},
    ]


def test_the_same_values_of_a_step_again_add_nothing(run):
    logger = MetricsCSV(str(run))
    for _ in range(2):
        logger.log_metrics({"train/loss": float("nan")}, step=39)
    assert [row["step"] for row in rows(run)] == ["9", "19", "19", "29", "39"]


def test_rows_are_in_the_file_at_once(tmp_path):
    MetricsCSV(str(tmp_path / "run")).log_metrics({"loss": 1.0}, step=0)
    assert (tmp_path / "run" / "metrics.csv").read_text().split() == ["step,loss", "0,1.0"]


def test_the_full_precision_is_kept(tmp_path):
    MetricsCSV(str(tmp_path)).log_metrics({"loss": 0.1 + 0.2}, step=0)
    assert float(rows(tmp_path)[0]["loss"]) == 0.1 + 0.2


def test_a_resumed_run_drops_the_rows_that_it_writes_again(run):
    """Twenty steps are done: row 29 comes again."""
    whole = (run / "metrics.csv").read_bytes()
    logger = MetricsCSV(str(run))
    logger.resume_from(20)
    assert [row["step"] for row in rows(run)] == ["9", "19", "19"]
    logger.log_metrics({"train/loss": 1.0}, step=29)
    assert (run / "metrics.csv").read_bytes() == whole  # that of a run that was never stopped


def test_a_row_that_a_kill_cut_short_is_dropped(run):
    with (run / "metrics.csv").open("a") as file:
        file.write("1")
    logger = MetricsCSV(str(run))
    logger.resume_from(20)
    assert [row["step"] for row in rows(run)] == ["9", "19", "19"]


def test_a_later_logger_adds_to_the_file(run):
    MetricsCSV(str(run)).log_metrics({"new": 7.0, "train/loss": 0.5}, step=39)
    assert rows(run)[-1] == {"step": "39", "train/loss": "0.5", "val/recall_at_1": "", "epoch": "", "new": "7.0"}
    assert len(rows(run)) == 5 and [path.name for path in run.iterdir()] == ["metrics.csv"]


def test_resuming_without_a_file_is_no_error(tmp_path):
    MetricsCSV(str(tmp_path)).resume_from(10)
    assert not list(tmp_path.iterdir())


def test_no_name_of_a_metric_makes_it_fail(tmp_path):
    logger = MetricsCSV(str(tmp_path))
    logger.log_metrics({"caf\u00e9 \u65b0 \ud83d": 1.0}, step=0)
    logger.log_metrics({"other": 1.0}, step=9)
    logger.resume_from(5)
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines() == [
        "step,caf\u00e9 \u65b0 \ufffd,other",
        "0,1.0,",
    ]


@pytest.mark.hostile("further doors")
def test_no_cell_is_a_formula_and_numbers_stay(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,=A1,train/loss\n0,@SUM(1),-1.5\n9,-2,+3e-4\n")
    logger = MetricsCSV(str(tmp_path))
    logger.resume_from(9)
    logger.log_metrics({"=A1": -0.5, "-new": 1.0}, step=9)
    logger.resume_from(20)
    written = "step,'=A1,train/loss,'-new\n0,'@SUM(1),-1.5,\n9,-0.5,,1.0\n"
    assert (tmp_path / "metrics.csv").read_text() == written


@pytest.mark.hostile("hostile run folders")
@pytest.mark.parametrize(
    "content",
    [
        b"loss\n1.0\n",
        b"step,loss\nx,1\n",
        b"step,loss\n1,2,3\n",
        b"step,loss\n1\n",
        b"step\n-1\n",
        b'step\n"' + b"9" * 200_000 + b"\n",
        b"step\n\xff\n",
        b"step\n\0\n",
    ],
)
def test_metrics_that_are_none_are_named_when_a_run_is_resumed(tmp_path, content):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv: .*; move (it|the file) away$"):
        MetricsCSV(str(tmp_path)).resume_from(5)
