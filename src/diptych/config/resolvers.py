"""What configs may ask for by `${name:...}`."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config import stage_configs
from diptych.config.plain_config import typed_overrides
from diptych.config.run_places import check_path, run_folder, runs_folder
from diptych.storage.cores import usable_cores
from diptych.storage.whole import claim_folder

_SECOND = "%Y-%m-%d_%H-%M-%S"


def register_resolvers() -> None:
    """`${dataset_root:cirr}` is `data.root`, or the dataset's own folder under `data_dir`; `${run_dir:train}` is a new
    folder for a run, made here so that no other process has it, or that of the resumed one; `${sweep_dir:}` is one for
    a sweep. `${cores:8}` are the processors that this process may use, 8 at most.

    In pipelines `${files_of:FILE,STAGE,...}` is a list of the files of that name in the folders of the stages, one for
    each where a stage has `for_each`; `${named_files_of:FILE,STAGE,...}` has them by the stage's name;
    `${folders_before:STAGE}` are the folders of the stages that run before it, by name; `${overridden:data}` are the
    settings below `data` that the command line names, by their dotted names.
    """
    OmegaConf.register_new_resolver("precision", str, replace=True)
    OmegaConf.register_new_resolver("cores", _cores, replace=True)
    OmegaConf.register_new_resolver("dataset_root", _dataset_root, replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
    OmegaConf.register_new_resolver("sweep_dir", _sweep_dir, replace=True)
    OmegaConf.register_new_resolver("files_of", _files_of, replace=True)
    OmegaConf.register_new_resolver("named_files_of", _named_files_of, replace=True)
    OmegaConf.register_new_resolver("folders_before", _folders_before, replace=True)
    OmegaConf.register_new_resolver("overridden", _overridden, replace=True)


def _dataset_root(name: str, *, _root_: DictConfig) -> str:
    return str(_root_.data.get("root") or Path(_root_.data_dir) / name)


def _cores(most: int) -> int:
    return min(usable_cores(), most)


def _files_of(file: str, *stages: str, _root_: DictConfig) -> list[str]:
    return list(_named_files_of(file, *stages, _root_=_root_).values())


def _named_files_of(file: str, *stages: str, _root_: DictConfig) -> dict[str, str]:
    return {name: f"{folder}/{file}" for name, folder in stage_configs.folders(_root_, *stages).items()}


def _folders_before(stage: str, *, _root_: DictConfig) -> dict[str, str]:
    return stage_configs.folders_before(_root_, stage)


def _overridden(section: str, *, _root_: DictConfig) -> dict[str, Any]:
    found = {}
    for word in typed_overrides():
        name = word.lstrip("+~").split("=")[0].split("@")[-1]
        if name.startswith(f"{section}."):
            value = OmegaConf.select(_root_, name, throw_on_resolution_failure=False)
            plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            found[name.removeprefix(f"{section}.")] = plain
    return found


@functools.cache
def _new_folder(place: Path, process: int) -> Path:
    """A folder of this process's own in `place`, named by the time at which the process first asked for one there.

    The processes of one launch, which SLURM or torchrun has started, share a folder that is named by what they have in
    common instead; so has a job that SLURM queues again the folder that it had.
    """
    shared = _launch()
    check_path(place)
    if shared is not None:
        return place / shared
    try:
        return claim_folder(place / datetime.now().strftime(_SECOND))
    except OSError as error:
        raise ValueError(
            f"{place} cannot hold the folder of a run ({error.strerror or error}): set DIPTYCH_RUNS to one that can be"
            " written to"
        ) from error


def shared_folder(words: Sequence[str]) -> bool:
    """Whether the folder of a command with these overrides was there before it, or is that of other processes too."""
    return _launch() is not None or any(
        word.lstrip("+").startswith(("resume=", "join_run=", "hydra.run.dir=")) for word in words
    )


def _launch() -> str | None:
    """The name of the launch that this process is one of several of; None where it was started alone."""
    environment = os.environ
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_JOB_ID" in environment:
        return f"job_{environment['SLURM_JOB_ID']}_{environment.get('SLURM_STEP_ID', 0)}"
    if int(environment.get("WORLD_SIZE", 1)) > 1 and "TORCHELASTIC_RUN_ID" in environment:
        # The processes of one machine have a parent; those of several a name, which torchrun is given (--rdzv-id).
        alone = environment.get("GROUP_WORLD_SIZE", "1") == "1"
        return f"torchrun_{_parent()}" if alone else f"torchrun_{environment['TORCHELASTIC_RUN_ID']}"
    return None


def _parent() -> str:
    """When the parent process has begun, and its number: no two have both. Where the system has no /proc, the port at
    which its children meet, and its number.
    """
    try:
        ticks = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[19])
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return f"{os.environ.get('MASTER_PORT', 0)}_{os.getppid()}"
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime"))
    began = datetime.fromtimestamp(boot + ticks / os.sysconf("SC_CLK_TCK"))
    return f"{began.strftime(_SECOND)}_{os.getppid()}"


def _sweep_dir() -> str:
    return str(_new_folder(runs_folder() / "sweeps", os.getpid()))


def _run_dir(entry: str, *, _root_: DictConfig) -> str:
    return str(_folder_of(entry, _root_))


def _folder_of(entry: str, config: DictConfig) -> Path:
    if given := config.resume or (entry == "train" and config.join_run):
        return run_folder(str(given))
    if entry == "train":
        return _new_folder(runs_folder() / str(config.name), os.getpid())
    checkpoint = Path(config.ckpt or "predictions").resolve()
    run = next((parent for parent in (checkpoint, *checkpoint.parents) if (parent / "config.yaml").is_file()), None)
    if run and (run.parent / "command.json").is_file():  # a run of a sweep: its evaluations are its own
        return _new_folder(run / "eval", os.getpid())
    return _new_folder(runs_folder() / (run.parent.name if run else checkpoint.stem) / "eval", os.getpid())
