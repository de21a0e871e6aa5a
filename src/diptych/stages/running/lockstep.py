"""Several processes, one pipeline: the first one works through the stages, the others join where a model predicts.

They meet in a small file, not in a collective: a stage without a model can take hours, longer than any time limit of a
process group.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from diptych.storage.json_files import read_json, write_json

_LAUNCH = "DIPTYCH_LAUNCH"  # handed to the processes that Lightning starts
_POLL_SECONDS = (0.05, 2.0)


class Lockstep:
    """The meeting point of one launch; processes of another launch, earlier or at the same time, do not meet here."""

    def __init__(self, trainer: L.Trainer, work_dir: Path) -> None:
        self.is_main = trainer.global_rank == 0
        self._trainer = trainer
        self._alone = trainer.world_size == 1
        self._path = work_dir / ".lockstep.json"
        self._launch = _launch(self.is_main)
        self._parent = os.getppid()
        self._step = 0
        if self.is_main:
            self._say(step=0, state="started")

    def begin_work(self, ids: Sequence[str]) -> None:
        """Main process: the others shall predict these records with it."""
        self._say(step=self._step, state="work", ids=list(ids))

    def next_step(self) -> None:
        """Main process: this step is done."""
        self._step += 1
        self._say(step=self._step, state="started")

    def wait_for_step(self) -> list[str] | None:
        """Other processes: the records to be predicted when the prediction of this step begins, None when it is done
        without them. The next call is about the next step.

        Raises:
            ValueError: the main process has failed, or is gone.
        """
        pause = _POLL_SECONDS[0]
        while True:
            said = self._read()
            if said.get("state") == "failed" or os.getppid() != self._parent:
                raise ValueError(f"the first process has ended: {said.get('message', 'it was killed')}")
            if said and (said["step"] > self._step or (said["step"] == self._step and said["state"] == "work")):
                self._step += 1
                return said["ids"] if said["step"] == self._step - 1 else None
            time.sleep(pause)
            pause = min(pause * 1.5, _POLL_SECONDS[1])

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """The main process does what follows, then the others do."""
        if self.is_main:
            with self.reporting_failure():
                yield
            self.next_step()
        else:
            self.wait_for_step()
            yield

    @contextmanager
    def reporting_failure(self) -> Iterator[None]:
        """Main process: the others end when this one fails."""
        try:
            yield
        except BaseException as error:
            self._say(step=-1, state="failed", message=str(error))
            raise

    def together(self) -> None:
        """All processes go on when the last one has arrived."""
        if not self._alone:
            self._trainer.strategy.barrier()

    def _say(self, **content: Any) -> None:
        if not self._alone:
            write_json(self._path, {"launch": self._launch, **content}, indent=None)

    def _read(self) -> dict[str, Any]:
        """What the main process of this launch has said last; nothing if it has not yet."""
        shape = {"launch": str, "step": int, "state": str, "ids?": [str], "message?": str}
        said = read_json(self._path, "remove it", missing_ok=True, shape=shape)
        return said if said and said["launch"] == self._launch else {}


def _launch(is_main: bool) -> str:
    """What all processes of this launch, and no others, have in common."""
    for of_launch, names in (
        ("SLURM_STEP_ID", ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")),
        ("TORCHELASTIC_RUN_ID", ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")),
    ):
        if of_launch in os.environ:
            return "-".join(os.environ.get(name, "") for name in names)
    if is_main:
        os.environ[_LAUNCH] = uuid.uuid4().hex
    return os.environ.get(_LAUNCH, "")
