"""What configs may ask for by `${name:...}`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

_STARTED = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
if int(os.environ.get("SLURM_NTASKS", 1)) > 1:  # the same for all tasks, and for the job when it is queued again
    _STARTED = f"job_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', 0)}"


def register_resolvers() -> None:
    """`${precision:auto}` is bf16-mixed where the hardware computes in it; `${dataset_root:cirr}` is `data.root`, or
    the dataset's own folder under `data_dir`; `${run_dir:train}` is a new folder for a run, or that of the resumed one.
    """
    OmegaConf.register_new_resolver("precision", chosen_precision, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("dataset_root", _dataset_root, replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)


def chosen_precision(choice: str) -> str:
    """The precision itself; for `auto` bf16-mixed where the hardware computes in it, else 32-true."""
    import torch

    if choice != "auto":
        return choice
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    fast_on_cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast_on_cpu else "32-true"


def _dataset_root(name: str, *, _root_: DictConfig) -> str:
    return str(_root_.data.get("root") or Path(_root_.data_dir) / name)


def _run_dir(entry: str, *, _root_: DictConfig) -> str:
    runs = Path(os.environ.get("DIPTYCH_RUNS", "runs"))
    if entry == "evaluate" and _root_.resume:
        return str(Path(_root_.resume).resolve())
    if entry == "evaluate":
        checkpoint = Path(_root_.ckpt or "predictions").resolve()
        run = next((parent for parent in (checkpoint, *checkpoint.parents) if (parent / "config.yaml").is_file()), None)
        if run and (run.parent / "command.json").is_file():  # a run of a sweep: its evaluations are its own
            return str(run / "eval" / _STARTED)
        return str(runs / (run.parent.name if run else checkpoint.stem) / "eval" / _STARTED)
    if _root_.resume or _root_.join_run:
        return str(Path(_root_.resume or _root_.join_run).resolve())
    return str(runs / _root_.name / _STARTED)
