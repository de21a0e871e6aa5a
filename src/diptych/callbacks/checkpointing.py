"""`last.ckpt` and `best.ckpt` of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import lightning as L

from diptych.contracts.models import TrainableSystem
from diptych.parallel import checkpoints
from diptych.parallel.checkpoint_thread import ThreadedCheckpointIO, unsaved
from diptych.parallel.distributed import any_rank, rank, said_by_any
from diptych.parallel.private_parts import log_training_step, set_logged_step
from diptych.parallel.sharding import ShardedStrategy

log = logging.getLogger(__name__)


class Checkpointing(L.Callback):
    """Saves `checkpoints/last.ckpt` every `every_n_steps` optimizer steps, before and after every validation, and
    `checkpoints/best.ckpt` whenever the metric `monitor` improves. `mode` is `max` or `min`, where its best value lies;
    None asks the system when the metric is logged for the first time (`mode_of`).

    A run that resumes from `last.ckpt`, whenever it was killed, ends as if it had not been: `last` is saved only where
    Lightning can resume exactly. That is neither within an accumulated step nor between a step and the validation due
    after it, which would be left out; so `last` is saved one step earlier, and a run that was killed in a validation
    repeats that step and the validation. The values that the step logged are written before the checkpoint, so that no
    kill falls between the two. It is therefore the last of the trainer's callbacks: others may still log, or stop the
    training (`trainer.should_stop`), which saves `last` too.

    The run's config.yaml travels inside, so that a checkpoint needs nothing else to be evaluated. The training goes on
    while it is written, but for sharded ones (`ThreadedCheckpointIO` is the trainer's); the next one, and the end of
    the training, wait for it. A full disk is an error in the log, then known to all processes, and the run continues:
    the previous checkpoint is whole. What could not be saved until the end is kept in mind, `best` in later
    checkpoints too: see `check_saved`.
    """

    def __init__(self, monitor: str, mode: str | None = None, every_n_steps: int = 500) -> None:
        if mode not in ("max", "min", None):
            raise ValueError(f"mode={mode!r} is not one of max, min")
        self.monitor, self.mode, self.every_n_steps = monitor, mode, every_n_steps
        self.best_value: float | None = None
        self._last_saved_step = self._validated_batch = -1
        self._validates = False
        self._begun: tuple[str, ...] = ()  # the names that are being written, as the state was after `_begun_step`
        self._begun_step = self._unsaved_best_step = -1
        self._failed: dict[str, str] = {}  # why, by name, as far as this process knows
        self._unsaved: dict[str, str] = {}  # the same, as all processes know

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        """Goes behind the trainer's other callbacks."""
        callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set out of mypy's sight
        trainer.callbacks = [*(one for one in callbacks if one is not self), self]  # type: ignore[attr-defined]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Starts counting from where the run is."""
        self._last_saved_step, self._validates = trainer.global_step, trainer.enable_validation
        if trainer.global_step:  # Lightning counts the last step for its logs now, again if `on_train_end` saved it
            set_logged_step(trainer, trainer.global_step - 1)
        if self._validates and trainer.val_check_batch is None:
            raise ValueError(
                f"trainer.val_check_interval={trainer.val_check_interval!r}: a run that validates by the clock cannot "
                "be resumed exactly; set a number of batches"
            )

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *args: Any) -> None:
        """Saves `last` when due, when the training stops, or when the next step is followed by a validation."""
        due = trainer.should_stop or trainer.global_step - self._last_saved_step >= self.every_n_steps
        batches, per_step = _batches(trainer), trainer.accumulate_grad_batches
        interval = trainer.val_check_batch if self._validates else None
        if due or (
            interval is not None
            and trainer.global_step != self._last_saved_step
            and batches // interval < (batches + per_step) // interval
        ):
            log_training_step(trainer)
            self._save_last(trainer)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Saves `best` if it is, then `last`, unless the training is done and `on_train_end` will."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(name for name in trainer.callback_metrics if name.startswith("val/")))
            raise ValueError(f"callbacks.checkpointing.monitor={self.monitor!r} is not logged; there are: {known}")
        if self.mode is None:
            self.mode = cast(TrainableSystem, module).mode_of(self.monitor)
        value, names = float(trainer.callback_metrics[self.monitor]), []
        if self.best_value is None or (value > self.best_value if self.mode == "max" else value < self.best_value):
            self.best_value = value
            names.append("best")
        self._validated_batch = _batches(trainer)
        if trainer.global_step < trainer.max_steps and self._can_resume_here(trainer):
            names.append("last")
        if names:
            self._save(trainer, *names)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Saves `last` if anything was learned since; and what could not be saved before and still is as it was."""
        self._settle(trainer)
        if "best" in self._unsaved and self._unsaved_best_step == trainer.global_step:
            self._save(trainer, "best")
        if trainer.global_step != self._last_saved_step or "last" in self._unsaved:
            self._save_last(trainer)
        self._settle(trainer)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        """Waits for what is being written. What went wrong there must not hide what ended the training."""
        try:
            self._look(trainer)
        except Exception as error:
            log.error("the latest checkpoint could not be written: %s", error)

    def check_saved(self, trainer: L.Trainer) -> None:
        """For the end of a training. Raises OSError, on every process, unless the run's last state and its best, as far
        as they were to be saved, are on the disk.
        """
        self._settle(trainer)
        if not any_rank(bool(self._unsaved)):
            return
        reasons = "; ".join(dict.fromkeys(self._unsaved.values())) or "the process that writes them says why"
        raise OSError(
            f"the training has ended at step {trainer.global_step}, but not all of its checkpoints are on the disk: "
            f"{reasons}. Make room, and resume the run"
        )

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds what makes the checkpoint describe itself."""
        text = (Path(trainer.default_root_dir) / "config.yaml").read_text()
        checkpoint[checkpoints.KEY] = checkpoints.describe(text)

    def state_dict(self) -> dict[str, Any]:
        """The best value so far, and why its weights could not be saved if they could not."""
        lost = {"lost_best": self._unsaved["best"]} if "best" in self._unsaved else {}
        return {"best_value": self.best_value, **lost}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues comparing with the best value so far."""
        self.best_value = state_dict["best_value"]
        if "lost_best" in state_dict:
            self._unsaved["best"] = state_dict["lost_best"]

    def _can_resume_here(self, trainer: L.Trainer) -> bool:
        batches = _batches(trainer)
        in_a_step = batches % trainer.accumulate_grad_batches != 0
        interval = trainer.val_check_batch if self._validates else None
        before_validation = interval is not None and batches % interval == 0 and batches != self._validated_batch
        return not in_a_step and not before_validation

    def _save_last(self, trainer: L.Trainer) -> None:
        """Saves `last.ckpt` now, if the run can resume from here exactly; else the previous one stays."""
        if self._can_resume_here(trainer):
            self._save(trainer, "last")

    def _save(self, trainer: L.Trainer, *names: str) -> None:
        """Begins to save the state under these names, in their order; one file has them all, if it is a file."""
        if len(names) > 1 and isinstance(trainer.strategy, ShardedStrategy):
            for name in names:
                self._save(trainer, name)
            return
        self._settle(trainer)
        paths = [_folder(trainer) / f"{name}.ckpt" for name in names]
        self._begun, self._begun_step = names, trainer.global_step
        if "last" in names:
            self._last_saved_step = trainer.global_step
        for name in names:
            self._unsaved.pop(name, None)
        try:
            trainer.save_checkpoint(paths[0], weights_only=False, storage_options=paths[1:])
        except OSError as error:
            trainer.strategy.barrier("Trainer.save_checkpoint")  # at which the processes that write nothing wait
            self._failed |= dict.fromkeys(names, str(reason := unsaved(error, _folder(trainer))))
            if rank() == 0:
                log.error("%s", reason)

    def _look(self, trainer: L.Trainer) -> None:
        """Waits for what this process is writing, and notes why it could not be."""
        failures = cast(ThreadedCheckpointIO, trainer.strategy.checkpoint_io).failures()
        self._failed |= {path.stem: str(error) for path, error in failures.items()}

    def _settle(self, trainer: L.Trainer) -> None:
        """Waits for what is being written. All processes, which must come here together, then know whether it is on the
        disk: they try again together, or would wait for one another for ever.
        """
        if not self._begun:
            return
        self._look(trainer)
        for name in self._begun:
            if reason := said_by_any(self._failed.pop(name, "")):
                self._unsaved[name] = reason
                if name == "best":
                    self._unsaved_best_step = self._begun_step
        self._begun = ()


def _folder(trainer: L.Trainer) -> Path:
    return Path(trainer.default_root_dir) / "checkpoints"


def _batches(trainer: L.Trainer) -> int:
    """Training batches done since the run began, on this rank."""
    return trainer.fit_loop.total_batch_idx + 1
