"""What configs may ask for by `${name:...}`."""

from __future__ import annotations

import functools
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych.config import stage_configs


def register_resolvers() -> None:
    """`${dataset_root:cirr}` is `data.root`, or
    the dataset's own folder under `data_dir`; `${run_dir:train}` is a new folder for a run, or that of the resumed one.

    In pipelines `${files_of:FILE,STAGE,...}` is a list of the files of that name in the folders of the stages, one for
    each where a stage has `for_each`; `${named_files_of:FILE,STAGE,...}` has them by the stage's name;
    `${folders_before:STAGE}` are the folders of the stages that run before it, by name; `${overridden:data}` are the
    settings below `data` that the command line names, by their dotted names.
    """
    OmegaConf.register_new_resolver("precision", str, replace=True)
    OmegaConf.register_new_resolver("dataset_root", _dataset_root, replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("files_of", _files_of, replace=True)
    OmegaConf.register_new_resolver("named_files_of", _named_files_of, replace=True)
    OmegaConf.register_new_resolver("folders_before", _folders_before, replace=True)
    OmegaConf.register_new_resolver("overridden", _overridden, replace=True)


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


@functools.cache
def _started(process: int) -> str:
    """When the process first asked. One of several tasks of a SLURM job is named by the job instead: all tasks have
    the same folder, and so has the job when it is queued again.
    """
    environment = os.environ
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_JOB_ID" in environment:
        return f"job_{environment['SLURM_JOB_ID']}_{environment.get('SLURM_STEP_ID', 0)}"
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _run_dir(entry: str, *, _root_: DictConfig) -> str:
    started = _started(os.getpid())  # not a process's that this one was forked from
    runs = Path(os.environ.get("DIPTYCH_RUNS", "runs"))
    if entry == "evaluate" and _root_.resume:
        return str(Path(_root_.resume).resolve())
    if entry == "evaluate":
        checkpoint = Path(_root_.ckpt or "predictions").resolve()
        run = next((parent for parent in (checkpoint, *checkpoint.parents) if (parent / "config.yaml").is_file()), None)
        if run and (run.parent / "command.json").is_file():  # a run of a sweep: its evaluations are its own
            return str(run / "eval" / started)
        return str(runs / (run.parent.name if run else checkpoint.stem) / "eval" / started)
    if _root_.resume or _root_.join_run:
        return str(Path(_root_.resume or _root_.join_run).resolve())
    return str(runs / _root_.name / started)
