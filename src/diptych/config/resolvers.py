"""What configs may ask for by `${name:...}`."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych.config import stage_configs

_STARTED = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
if int(os.environ.get("SLURM_NTASKS", 1)) > 1:  # the same for all tasks, and for the job when it is queued again
    _STARTED = f"job_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', 0)}"


def register_resolvers() -> None:
    """`${precision:auto}` is bf16-mixed where the hardware computes in it; `${dataset_root:cirr}` is `data.root`, or
    the dataset's own folder under `data_dir`; `${run_dir:train}` is a new folder for a run, or that of the resumed one.

    In pipelines `${files_of:FILE,STAGE,...}` is a list of the files of that name in the folders of the stages, one for
    each where a stage has `for_each`; `${named_files_of:FILE,STAGE,...}` has them by the stage's name;
    `${folders_before:STAGE}` are the folders of the stages that run before it, by name; `${overridden:data}` are the
    settings below `data` that the command line names, by their dotted names.
    """
    OmegaConf.register_new_resolver("precision", chosen_precision, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("dataset_root", _dataset_root, replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("files_of", _files_of, replace=True)
    OmegaConf.register_new_resolver("named_files_of", _named_files_of, replace=True)
    OmegaConf.register_new_resolver("folders_before", _folders_before, replace=True)
    OmegaConf.register_new_resolver("overridden", _overridden, replace=True)


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


def _files_of(file: str, *stages: str, _root_: DictConfig) -> list[str]:
    return list(_named_files_of(file, *stages, _root_=_root_).values())


def _named_files_of(file: str, *stages: str, _root_: DictConfig) -> dict[str, str]:
    return {name: f"{folder}/{file}" for name, folder in stage_configs.folders(_root_, *stages).items()}


def _folders_before(stage: str, *, _root_: DictConfig) -> dict[str, str]:
    return stage_configs.folders_before(_root_, stage)


def _overridden(section: str, *, _root_: DictConfig) -> dict[str, Any]:
    found = {}
    for word in HydraConfig.get().overrides.task:
        name = word.lstrip("+~").split("=")[0].split("@")[-1]
        if name.startswith(f"{section}."):
            value = OmegaConf.select(_root_, name, throw_on_resolution_failure=False)
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            found[name.removeprefix(f"{section}.")] = plain
    return found


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
