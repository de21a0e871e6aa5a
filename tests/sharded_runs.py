"""Training on two processes without waiting for two imports: the ranks are forked from a server that has imported."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import patience
from diptych.parallel import sharded_checkpoints
from tiny_runs import run_train
from warm_python import warm

_CONTEXT = multiprocessing.get_context("forkserver")
DEATHS = ("shards_written", "link_moved")  # where the first process can be killed, in its third saving


def train_on_two(run_dir: Path, *words: str, resume: bool = False, death: str | None = None) -> None:
    """`python train.py` with these overrides on two processes; with `death` it is killed there (see DEATHS)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [_CONTEXT.Process(target=_rank, args=(rank, port, run_dir, words, resume, death)) for rank in range(2)]
    warm.use_for_multiprocessing()
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(patience.SECONDS)
        process.kill()  # after the time limit only
        process.join()
    codes = [process.exitcode for process in ranks]
    logs = "\n".join((run_dir.parent / f"{run_dir.name}.{rank}.log").read_text()[-3000:] for rank in range(2))
    assert (codes[0] == 9 and codes[1] != 0) if death else codes == [0, 0], f"{codes}\n{logs}"


def _rank(rank: int, port: int, run_dir: Path, words: Sequence[str], resume: bool, death: str | None) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",  # tells Lightning that the ranks are there
    }
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    log = os.open(run_dir.parent / f"{run_dir.name}.{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    _arm(death)
    if resume:
        words = [*words, f"resume={run_dir}"]
    if rank == 0:
        run_train(run_dir, *(["name=resumed"] if resume else []), *words)
        return
    patience.wait_until((run_dir / "config.yaml").exists)
    run_train(run_dir, "name=joined", f"join_run={run_dir}", *(words if resume else []))


def _arm(death: str | None) -> None:
    """Kills this process in its third saving: with the shards written, or with the link moved to them as well."""
    if death is None:
        return
    name = {"shards_written": "_point", "link_moved": "write_link"}[death]
    function, times = getattr(sharded_checkpoints, name), []

    def deadly(*arguments: Any) -> None:
        times.append(1)
        if len(times) == 3 and name == "write_link":
            function(*arguments)
        if len(times) == 3:
            os._exit(9)
        function(*arguments)

    setattr(sharded_checkpoints, name, deadly)
