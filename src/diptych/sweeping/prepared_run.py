"""A run as a process of its own: its folder with config and status, the command that starts or resumes it, its end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diptych.storage.json_values import encodable
from diptych.storage.run_status import RunStatus, change_status, read_status
from diptych.storage.whole import write_file
from diptych.sweeping.cluster import Cluster, Run
from diptych.sweeping.resuming import TRUST
from diptych.sweeping.run_words import check_run, run_words

log = logging.getLogger(__name__)


def prepared_run(
    command: str,
    config: DictConfig,
    overrides: Sequence[str],
    words: Sequence[str],
    folder: Path,
    start: Sequence[str],
    trusted: bool | None = None,
) -> Run:
    """The run of `command` in `folder`, which then has its config and a status with its `overrides`, unless they are
    there already. `config` is what `words` compose, and `start` the program with the command.

    `trusted` says that the folder is the user's own; unless it is said, a training's is where it holds this config.

    Raises:
        ValueError: the config cannot be run, or a word names a folder; the folder is as it was.
    """
    path, text = folder / "config.yaml", encodable(OmegaConf.to_yaml(config)).encode()
    if not path.is_file():
        check_run(command, config)
    told = run_words(command, config, words, folder)
    if not path.is_file():
        change_status(folder, overrides=tuple(overrides))
        write_file(path, text)
    # What the user's own words compose is the user's own; a folder that lay there need not be.
    if command == "train" and (trusted or (trusted is None and path.read_bytes() == text)):
        told = [*told, TRUST]
    return Run(folder, (*start, *told))


def finish_run(cluster: Cluster, run: Run) -> RunStatus:
    """Runs it to its end, unless it is done already; its status then."""
    status = read_status(run.folder)
    if status is not None and status.state == "done":
        log.info("run %s is done already", run.folder.name)
        return status
    log.info("run %s: %s", run.folder.name, " ".join(status.overrides if status else ()))
    what_happened = cluster.execute(run)
    status = read_status(run.folder) or RunStatus()
    if what_happened and status.state in ("waiting", "running"):
        status = change_status(run.folder, state="failed", error=what_happened)
    log.info("run %s: %s", run.folder.name, in_a_line(status))
    return status


def in_a_line(status: RunStatus | None) -> str:
    """How a run stands: `failed: why`, `done at step 40, val/recall_at_1 0.1234`."""
    if status is None:
        return "not started"
    last_line = (status.error or "").strip().splitlines()[-1:]
    if status.state == "failed" and last_line:
        return f"failed: {last_line[0]}"
    value = status.objective and status.objective.value
    shown = f", {status.objective.metric} {value:.4f}" if status.objective and value is not None else ""
    return status.state + (f" at step {status.step}" if status.step else "") + shown
