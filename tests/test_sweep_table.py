"""The table of a sweep, from the folders that its runs left."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from diptych.sweep_table import SweepTable


@pytest.fixture
def sweep(tmp_path):
    """Runs 0, 2 and 10, `latest` pointing at one of them, and a folder that is no run."""
    for name, recall in (("0", 0.25), ("2", None), ("10", 0.5)):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        OmegaConf.save(
            OmegaConf.create([f"system.optimizer.lr={name}", "seed=1"]), tmp_path / name / ".hydra/overrides.yaml"
        )
        if recall is not None:
            record = {"split": "val", "protocol": {"line": "tiny v1"}, "metrics": {"recall_at_1": recall}}
            (tmp_path / name / "metrics.json").write_text(json.dumps(record))
    (tmp_path / "latest").symlink_to("10")
    (tmp_path / "notes").mkdir()
    return tmp_path


def rows_of(sweep, callback):
    callback.on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}}))
    return list(csv.DictReader((sweep / "sweep.csv").open()))


def test_every_run_has_a_row_in_the_order_of_its_number(sweep, capsys):
    rows = rows_of(sweep, SweepTable())
    assert [row["run"] for row in rows] == ["0", "2", "10"]
    assert [row["status"] for row in rows] == ["done", "no result", "done"]
    assert [row["recall_at_1"] for row in rows] == ["0.25", "", "0.5"]
    assert rows[0]["overrides"] == "system.optimizer.lr=0 seed=1"
    assert "0.5000" in capsys.readouterr().out


def test_a_failed_run_says_why(sweep):
    callback = SweepTable()
    config = OmegaConf.create({"hydra": {"runtime": {"output_dir": str(sweep / "2")}}})
    failed = SimpleNamespace(status=SimpleNamespace(name="FAILED"), _return_value=ValueError("no data\nat all"))
    callback.on_job_end(config, failed)
    assert rows_of(sweep, callback)[1]["status"] == "failed: no data"


def test_a_sweep_without_runs_leaves_no_table(tmp_path):
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}}))
    assert not (tmp_path / "sweep.csv").exists()
