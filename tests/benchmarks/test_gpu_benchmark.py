"""`benchmarks/gpu.py` rehearsed: with shapes on a GPU that is not there, and with values in tiny sizes on the CPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import patience

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT / "benchmarks") not in sys.path:
    sys.path.append(str(ROOT / "benchmarks"))  # last: no file there may hide another module

from gpu_parts.bench import Missing, Report, Setting, relative_error  # noqa: E402

PARTS = ("ceilings", "right", "resume", "cir", "input", "fuser", "generation", "evaluation", "group")


def run(out: Path, *words: str) -> dict:
    """What the benchmark wrote; it must have ended well."""
    command = [sys.executable, ROOT / "benchmarks/gpu.py", "--out", out, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=patience.SECONDS)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return json.loads((out / "gpu.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(
    torch.version.cuda is None or torch.cuda.is_available() or shutil.which("cc") is None,
    reason="wants a CUDA build of torch, no GPU and a C compiler",
)
def test_every_part_runs_on_a_gpu_that_is_not_there(tmp_path):
    found = run(tmp_path, "--rehearse")
    assert [(part["name"], part["status"]) for part in found["parts"]] == [(name, "done") for name in PARTS]
    unfit = [line for part in found["parts"] for line in part["missing"] if not line.endswith("not on the fake GPU")]
    assert not unfit
    assert {check["status"] for part in found["parts"] for check in part["checks"]} <= {
        "not checked (rehearsal)", "missing",
    }  # fmt: skip
    numbers = [
        value for part in found["parts"] for row in part["rows"] for name, value in row.items() if name != "what"
    ]
    assert set(numbers) == {None}  # no times are told
    assert (tmp_path / "profile_cir.txt").is_file() and (tmp_path / "profile_fuser.txt").is_file()


@pytest.mark.slow
def test_lines_that_must_hold_do_on_the_cpu(tmp_path):
    found = run(tmp_path, "--device", "cpu", "--tiny", "--only", "right,resume")
    checks = [check for part in found["parts"] for check in part["checks"]]
    assert len(checks) == 23 and not [check for check in checks if check["status"] not in ("held", "missing")]
    missing = {check["name"] for check in checks if check["status"] == "missing"}
    kernel = "attention of packed examples in one kernel: "
    assert missing <= {
        f"{kernel}output", f"{kernel}gradients", "attention in one kernel sees no other example", "8-bit AdamW",
        "adapter over int8", "adapter over nf4, of its own dequantised weight",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ its own parts


@pytest.fixture
def report(tmp_path):
    return Report(1, "right", Setting(torch.device("cpu"), True, False, tmp_path))


def test_a_line_that_does_not_hold_fails_and_what_is_missing_does_not(report):
    def absent() -> float:
        raise Missing("no such kernel")

    report.must("near", lambda: 0.9, 1.0)
    report.must("far", lambda: 1.1, 1.0)
    report.must("no number", lambda: float("nan"), 1.0)
    report.must("broken", lambda: 1 / 0, 1.0)
    report.must("absent", absent, 1.0)
    report.must_be("true", lambda: True)
    report.must_be("false", lambda: False)
    states = {check.name: check.status for check in report.checks}
    assert [name for name, status in states.items() if status == "FAILED"] == ["far", "no number", "broken", "false"]
    assert states["absent"] == "missing" and states["near"] == states["true"] == "held"
    assert len(report.failed()) == 4


def test_what_is_missing_ends_an_attempt_and_other_errors_end_the_part(report):
    with report.attempt("a library"):
        raise ImportError("no module")
    assert report.missing == ["a library: no module"]
    with pytest.raises(ZeroDivisionError), report.attempt("a division"):
        1 / 0  # noqa: B018


def test_relative_error_is_of_all_tensors_together():
    expected = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    assert relative_error([torch.tensor([3.0, 0.5]), torch.tensor([4.0])], expected) == 0.1
