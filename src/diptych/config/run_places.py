"""Runs that a command names, `resume=`, `ckpt=`, `init_from=`: where they are, and which was meant if not there."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from diptych.config.override_words import in_shell, override

_OF_A_RUN = ("config.yaml", "status.json")  # what is never in the folder above runs
_NO_CHECKPOINTS = (".yaml", ".yml", ".json", ".jsonl", ".csv", ".txt", ".log", ".html", ".png")


def runs_folder() -> Path:
    """Where runs lie: `runs` in the working folder, or what DIPTYCH_RUNS says."""
    return Path(os.environ.get("DIPTYCH_RUNS", "runs"))


def run_folder(given: str) -> Path:
    """The folder of the run that `resume` names: itself, or its last checkpoint.

    Raises:
        ValueError: there is no such folder, or no run in it; says what to type.
    """
    path = Path(given).absolute()
    check_path(path)
    run = path.parent.parent.resolve() if path.parent.name == "checkpoints" else None
    if run is not None and path.name == "last.ckpt":
        return run
    if run is not None:
        raise ValueError(
            f"resume={given}: a run is resumed from its last checkpoint, say {in_shell(override('resume', run))}; to"
            f" start a new run from these weights, {in_shell(override('init_from', path))}"
        )
    if not path.is_dir():
        what = "is a file, not the folder of a run" if path.exists() else "there is no such folder"
        raise ValueError(f"resume={given}: {what}{meant('resume', given)}")
    if (path / "latest").exists() and not is_run(path):
        raise ValueError(f"resume={given} holds runs, and is none itself{meant('resume', given)}")
    return path.resolve()


def is_run(folder: Path) -> bool:
    """Whether a training has been at work in this very folder."""
    return any((folder / name).is_file() for name in _OF_A_RUN)


def require_checkpoint(key: str, given: str) -> None:
    """Does nothing where a checkpoint, or a run with one, may lie at `given`, as far as its name says.

    Raises:
        ValueError: nothing is there, or what is there is none; says what was meant, if something like it is there.
    """
    path = Path(given)
    if not path.exists():
        raise ValueError(f"{key}={given}: there is no such file or folder{meant(key, given)}")
    if path.is_file() and path.suffix in _NO_CHECKPOINTS:
        raise ValueError(f"{key}={given} is no checkpoint{meant(key, str(path.parent))}")
    if path.is_dir() and (path / "latest").exists() and not is_run(path) and not (path / "checkpoints").exists():
        raise ValueError(f"{key}={given} holds runs, and is none itself{meant(key, given)}")


def meant(key: str, given: str) -> str:
    """`; type resume=runs/r48/latest`, where a run is there whose name is like the `given` one; empty where none is."""
    path = Path(given)
    if is_run(path):
        return f"; type {in_shell(override(key, path))}"
    if (path / "latest").exists():
        return f"; type {in_shell(override(key, path / 'latest'))}"
    latest = sorted(runs_folder().glob("*/latest"), key=lambda link: link.lstat().st_mtime)
    if path.name == given == "latest" and latest:
        return f"; the latest run is {in_shell(override(key, latest[-1]))}"
    within = path if path.name == "latest" else path / "latest"
    known = [str(link) for link in latest]
    beside = path.parent.glob("*") if path.parent.is_dir() else ()  # dates of one run, files of one folder
    known += [str(other) for other in beside if is_run(other) or other.suffix == ".ckpt"]
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.6)
    near = near or difflib.get_close_matches(str(within), known, n=1, cutoff=0.6)
    return f"; did you mean {in_shell(override(key, near[0]))}?" if near else ""


def check_path(folder: Path) -> None:
    """ValueError where no run can lie: Hydra would look up what is in the path."""
    if "${" in str(folder.absolute()):
        raise ValueError(f"{folder.absolute()}: no run can lie where '${{' is in the path, which Hydra would look up")
