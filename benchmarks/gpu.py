"""What a GPU computes, and how fast: nine parts, within a budget of time, without network and weights.

`python benchmarks/gpu.py [--budget 480] [--only cir,fuser] [--out DIR]` prints a table a part and a summary, and writes
`gpu.json`, `profile_cir.txt` and `profile_fuser.txt` into DIR; a part that does not fit the rest of the budget is
skipped and says so. The exit status is 1 if a line that must hold does not. Random data on one card.

`--rehearse` runs all of it on a GPU that is not there (`tests/fake_gpu`): shapes, types and kernels, no values and no
times. `--device cpu --tiny` runs it on the CPU in tiny sizes: the lines that must hold are then checked for real.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts: what deterministic products want

import torch

from diptych.parallel.devices import prepare_gpu
from gpu_parts.bench import MISSING, NOT_CHECKED, Report, Setting
from side_by_side import machine_line

PARTS = ("ceilings", "right", "resume", "cir", "input", "fuser", "generation", "evaluation", "group")
FAKE_GPU = Path(__file__).resolve().parents[1] / "tests/fake_gpu"


def main() -> int:
    """Runs the parts; returns the exit status."""
    options = _options()
    if options.rehearse and "FAKE_CUDA_DEVICES" not in os.environ:
        return _on_the_fake_gpu()
    options.out.mkdir(parents=True, exist_ok=True)
    tiny = options.tiny or options.rehearse
    setting = Setting(torch.device(options.device), tiny, options.rehearse, options.out)
    if setting.on_gpu() and not torch.cuda.is_available():
        print("torch sees no GPU; --rehearse runs without one, --device cpu --tiny on the CPU", file=sys.stderr)
        return 1
    if tiny:
        torch.set_num_threads(1)  # what is so small waits for other threads longer than they help
    for name in options.only:
        with contextlib.suppress(ImportError):  # told when its turn comes
            importlib.import_module(f"gpu_parts.{name}")
    with _fake_tensors() if options.rehearse else contextlib.nullcontext():
        prepare_gpu(setting.device)
        header = machine(setting)
        print("\n".join(header), flush=True)
        reports = run(setting, options.budget, options.only)
    return finish(setting, header, reports)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", type=float, default=480, help="seconds")
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS, help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path("runs/bench_gpu"))
    parser.add_argument("--rehearse", action="store_true", help="on a GPU that is not there")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(PARTS))
    if unknown:
        parser.error(f"--only {','.join(unknown)} is not among {', '.join(PARTS)}")
    return options


def run(setting: Setting, budget: float, only: tuple[str, ...] | list[str]) -> list[Report]:
    """One report a part; no part's error is another's."""
    began, reports = time.perf_counter(), []
    for number, name in enumerate(PARTS):
        if name not in only:
            continue
        report = Report(number, name, setting)
        reports.append(report)
        start = time.perf_counter()
        try:
            part = importlib.import_module(f"gpu_parts.{name}")
            left = budget - (start - began)
            if left < part.SECONDS and not setting.tiny:
                report.status = f"skipped: estimated {part.SECONDS} s, {left:.0f} s of the budget are left"
            else:
                part.run(setting, report)
        except Exception as error:
            traceback.print_exc()
            report.status = f"error: {type(error).__name__}: {error}"[:300]
        report.seconds = time.perf_counter() - start
        print(report.text(), flush=True)
    return reports


def finish(setting: Setting, header: list[str], reports: list[Report]) -> int:
    """Prints the summary and writes the JSON; returns the exit status."""
    failed = [line for report in reports for line in report.failed()]
    print("\n== summary")
    for report in reports:
        states = [check.status for check in report.checks]
        held = len(states) - sum(states.count(other) for other in (MISSING, NOT_CHECKED))
        lines = f"{held} of {len(states)} lines checked" if states else "no lines to check"
        part = f"{report.number} {report.name:11} {report.seconds:5.0f} s"
        print(f"  {part}  {lines}, {len(report.missing)} missing; {report.status}")
    print("\n".join(f"  {line}" for line in failed) or "  no line failed")
    found = {
        "machine": header,
        "rehearsal": setting.rehearsal,
        "tiny": setting.tiny,
        "failed": failed,
        "parts": [report.as_json() for report in reports],
    }
    (setting.out / "gpu.json").write_text(json.dumps(found, indent=1) + "\n")
    return 1 if failed else 0


def machine(setting: Setting) -> list[str]:
    """The card, and the versions that decide."""
    lines = [machine_line()]
    if setting.on_gpu():
        card = torch.cuda.get_device_properties(setting.device)
        lines.append(
            f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {card.major}.{card.minor}; driver {_driver(setting)}"
        )
    cudnn = None if setting.rehearsal else torch.backends.cudnn.version()
    versions = ", ".join(
        f"{name} {_version(name)}" for name in ("transformers", "peft", "bitsandbytes", "open_clip_torch")
    )
    lines.append(f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, {versions}")
    lines.append(f"attention in order of priority: {_attention_order()}")
    if setting.rehearsal:
        lines.append("rehearsal: on a GPU that is not there; no values are checked, no times are told")
    return lines


def _driver(setting: Setting) -> str:
    if setting.rehearsal:
        return "none"
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _attention_order() -> str:
    """What torch would take first if nothing were switched off."""
    from torch.nn.attention import SDPBackend

    try:
        order = [SDPBackend(number).name for number in torch._C._get_sdp_priority_order()]
    except (AttributeError, ValueError) as error:
        return f"unknown ({error})"
    return f"{', '.join(order)}; cuDNN's is {'on' if torch.backends.cuda.cudnn_sdp_enabled() else 'off'}"


# ------------------------------------------------------------------------------------------------ rehearsal


def _on_the_fake_gpu() -> int:
    """The same command in a process that has the fake GPU."""
    sys.path.insert(0, str(FAKE_GPU))
    import fake_gpu

    with tempfile.TemporaryDirectory() as folder:
        environment = fake_gpu.environment(Path(folder), "9.0")
        return subprocess.run([sys.executable, *sys.argv], env=environment).returncode


@contextlib.contextmanager
def _fake_tensors():
    """Within it tensors have no values; what decides by values gets an answer."""
    sys.path.insert(0, str(FAKE_GPU))
    from torch._subclasses.fake_tensor import FakeTensorMode

    import fake_gpu

    fake_gpu.prepare()
    with FakeTensorMode(allow_non_fake_inputs=True), fake_gpu.watch({"item": lambda place, tensor: 1}):
        yield


if __name__ == "__main__":
    sys.exit(main())
