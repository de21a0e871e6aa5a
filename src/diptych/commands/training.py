"""What `train.py` does, once Hydra has composed the config."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from diptych.callbacks.checkpointing import Checkpointing
from diptych.callbacks.status_keeper import StatusKeeper
from diptych.callbacks.stop_on_signal import StopOnSignal, StoppedBySignal
from diptych.commands.evaluation import evaluate_system
from diptych.commands.monitored import check_logged, check_monitored, logged_of_retrieval
from diptych.commands.quiet_lightning import quiet_lightning
from diptych.config import building, checking
from diptych.config.command_line import shown_command, starting_command
from diptych.config.override_words import in_shell, override, unquoted
from diptych.config.plain_config import typed_overrides
from diptych.config.presence import names_data_folder, require_drawn
from diptych.config.resumed import with_changes, without_command
from diptych.config.strangers import SECTIONS, config_of_run
from diptych.config.trained import load_first_weights, with_model_of_checkpoint
from diptych.config.written_places import keep_within
from diptych.loggers.metrics_csv import MetricsCSV
from diptych.loggers.tensorboard_logger import ForgivingTensorBoardLogger
from diptych.parallel import checkpoints
from diptych.parallel.checkpoint_thread import ThreadedCheckpointIO
from diptych.parallel.distributed import rank
from diptych.parallel.private_parts import set_command_of_ranks
from diptych.parallel.sharding import check_shardable
from diptych.parallel.tensor_budget import TensorBudget
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.json_files import write_json_lines
from diptych.storage.run_status import read_status
from diptych.storage.whole import write_link, write_text

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float | None:
    """Trains the composed experiment in Hydra's run directory, or goes on with the run that `resume` names: from its
    last checkpoint, or from the start if it has none yet. Returns the best value of the primary metric.

    The run's status.json says how it goes. Raises ValueError when another process trains in that directory.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    words = typed_overrides()
    joins = config.join_run is not None
    # Lightning's other ranks and SLURM's are not.
    started_here = not joins and rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set out of mypy's sight
    # A job script of the user's own that SLURM has queued again: the same command in the same folder.
    came_back = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 and (run_dir / "config.yaml").is_file()
    resume = config.resume is not None or came_back
    trusted = True
    if resume or joins:
        # What a rank joins, and what SLURM has queued again, was looked at, or made, by the process that began it.
        trusted = config.trust_run or came_back
        config = _config_of_run(run_dir, config, [] if came_back else words, trusted)
    config = with_model_of_checkpoint(config)
    guard = locked(run_dir / ".lock", RUN_PATIENCE, f"{run_dir}: another process trains here; wait for it, or stop it")
    with guard if started_here else nullcontext():
        status = StatusKeeper(run_dir, words, active=started_here)
        with status.noting_failures():
            _run(config, run_dir, status, resume, started_here, trusted)
    objective = status.status.objective
    return None if objective is None else objective.value


def _run(
    config: DictConfig, run_dir: Path, status: StatusKeeper, resume: bool, started_here: bool, trusted: bool
) -> None:
    """Builds everything, trains, and scores the best checkpoint. The system of a run that is not `trusted` is not much
    larger than the weights in its last checkpoint.
    """
    checking.check_data_fits_system(config)
    checking.check(config, checking.root_keys("train"))
    checking.check_data_root(config)
    trainer, callbacks = _build_trainer(config, run_dir, status)  # first: it takes this process's GPU
    datamodule = building.build_data(config.data)
    last = run_dir / "checkpoints" / "last.ckpt"
    goes_on = resume and _is_there(last)
    if goes_on:  # one that has not trained yet, of a sweep or a study say, makes its data as a new one does
        asked = names_data_folder(typed_overrides())
        require_drawn(getattr(datamodule, "sources", {}).values(), config.data_dir, asked, run_dir)
    datamodule.prepare_training()  # before any model: missing data must not cost a download
    if datamodule.kind == "retrieval":
        check_monitored(config.callbacks, datamodule.evaluation_sets(datamodule.validation_split))
    building.settle(config, "system")
    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision("high" if config.get("tf32") else "highest")  # absent from earlier configs
    checkpoint = checkpoints.load(last, weights_alone=True) if goes_on else None
    held = {} if checkpoint is None else checkpoints.weights_of(checkpoint, last)
    with nullcontext() if trusted else TensorBudget(held, f"{run_dir}/config.yaml (yours? trust_run=true)"):
        system = building.build(config.system)
    _check_judged(config, datamodule, system)
    datamodule.prepare_for(system)
    check_shardable(trainer, system)  # before any weights
    system.load_pretrained(trainer.strategy.root_device, weights_follow=bool(goes_on or config.init_from))
    step = 0
    if checkpoint is not None:
        step = checkpoints.step_of(checkpoint, last)
        checkpoints.load_weights(system, checkpoint, last)  # the feature cache is looked up by the backbone's weights
        log.info("continuing %s at step %d", run_dir, step)
    elif config.init_from:
        load_first_weights(system, config)
    if started_here:
        _claim(run_dir, config, datamodule.untruths())
        if resume:
            for logger in trainer.loggers:
                if isinstance(logger, MetricsCSV | ForgivingTensorBoardLogger):
                    logger.resume_from(step)
        _report_size(system, config.name, trainer.precision)
        # Not with the command line of a sweep, nor that of a new run.
        resumed = [override("resume", run_dir)] if goes_on else []
        set_command_of_ranks([*starting_command(), override("join_run", run_dir), "trust_run=true", *resumed])
    datamodule.prepare_from_weights(system, trainer.strategy.root_device)
    _fit(trainer, system, datamodule, last if goes_on else None)

    stops = [callback for callback in callbacks if isinstance(callback, StopOnSignal) and callback.stopped]
    if stops:
        status.note(state="stopped")
        command = shown_command(override("resume", run_dir))
        print(f"stopped at step {trainer.global_step}; continue with: {command}")  # noqa: T201
        stops[0].hand_over()  # may end the process: the last act
        return
    if rank() == 0:
        checkpoints.consolidate(run_dir / "checkpoints")  # of a sharded run: ordinary files
    trainer.strategy.barrier()
    if config.evaluate_at_end:
        best = run_dir / "checkpoints" / "best.ckpt"
        best = best if _is_there(best) else last
        checkpoint = checkpoints.load(best, weights_alone=True)
        checkpoints.load_weights(system, checkpoint, best)
        about = {"experiment": config.name, "checkpoint": str(best), "step": checkpoint.get("global_step")}
        about |= {"seed": config.seed}
        evaluate_system(trainer, system, datamodule, datamodule.validation_split, run_dir, **about)
    status.note(state="done")


def _check_judged(config: DictConfig, datamodule: Any, system: Any) -> None:
    """What a run will be judged by is measured at all, and what its accumulated batches are to a contrastive loss is
    said, before there are weights.
    """
    of_ours = type(system).__module__.startswith("diptych.")  # one of somebody's own may log anything
    if system.kind == "captions" and of_ours:
        check_logged(config.callbacks, ["val/loss", "val/perplexity"])
    elif system.kind == "retrieval":
        sets = datamodule.evaluation_sets(datamodule.validation_split)
        logged = logged_of_retrieval(system.metrics, sets)
        if logged is not None and of_ours:
            check_logged(config.callbacks, logged)
        if (times := config.trainer.accumulate_grad_batches) > 1:
            log.warning("%s", said_of_accumulation(times, datamodule.training_batch_size))


def said_of_accumulation(times: int, batch_size: int) -> str:
    """What accumulated gradients do to a loss that compares the triplets of a batch."""
    return (
        f"trainer.accumulate_grad_batches={times} adds no negatives: each of the {times} batches of a step is compared"
        f" within itself, {batch_size} triplets of a process, not {times * batch_size}. The negatives of the large"
        f" batch in the memory of the small one: data.training.batch_size={times * batch_size}"
        f" system.micro_batch_size={batch_size} trainer.accumulate_grad_batches=1"
    )


def _fit(trainer: L.Trainer, system: L.LightningModule, datamodule: L.LightningDataModule, last: Path | None) -> None:
    try:
        trainer.fit(system, datamodule=datamodule, ckpt_path=None if last is None else str(last), weights_only=True)
    except StoppedBySignal:
        pass  # from the middle of a validation; last.ckpt was saved before it
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"out of memory at step {trainer.global_step}: lower {system.MEMORY_SETTINGS} ({reason})"
        ) from error
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set out of mypy's sight
    for callback in callbacks:
        if isinstance(callback, Checkpointing):
            callback.check_saved(trainer)


def _is_there(checkpoint: Path) -> bool:
    """Whether the run has this checkpoint. ValueError where it is a link and what it points to is gone."""
    if checkpoint.is_symlink() and not checkpoint.exists():
        raise ValueError(
            f"{checkpoint} is a checkpoint in pieces, and they are gone: put {checkpoint.readlink()} back beside it, or"
            " delete the link to do without"
        )
    return checkpoint.exists()


def _config_of_run(run_dir: Path, composed: DictConfig, words: list[str], trusted: bool) -> DictConfig:
    """The config that the run directory was made with, with the few settings that may change on resume. A run that was
    killed before it wrote one has that which the overrides have `composed`, if they are its own.

    Whoever made the folder made it: unless it is `trusted`, it is held to what a checkpoint's config may say.
    """
    path = run_dir / "config.yaml"
    status = read_status(run_dir)
    own = status.overrides if status else ()
    if not path.is_file() and own and without_command(words) == without_command(own):
        return cast(DictConfig, OmegaConf.merge(composed, {"resume": None}))
    if not path.is_file():
        again = f"; the command that began it again, with {in_shell(*own)} and resume=..., starts it" if own else ""
        raise ValueError(f"{run_dir}: there is no run to resume here (no config.yaml){again}")
    changed = with_changes(config_of_run(path, trusted), composed, words, own, run_dir)
    if not trusted:
        said = [unquoted(word.partition("=")[2]) for word in words if word.startswith(("data_dir=", "data.root="))]
        keep_within(changed, SECTIONS, os.environ.get("DIPTYCH_DATA", "data"), *said, run_dir)
    return changed


def _build_trainer(config: DictConfig, run_dir: Path, status: StatusKeeper) -> tuple[L.Trainer, list[L.Callback]]:
    """The trainer, whose first logger is the log of every run, and the callbacks of the config."""
    quiet_lightning()
    settings = config.trainer
    if settings.max_steps < 1:
        raise ValueError(
            "trainer.max_steps must be set: it is the length of the run (the log shows passes as train/epoch)"
        )
    if str(settings.precision).endswith("-true") and str(settings.precision) != "32-true":
        raise ValueError(
            f"trainer.precision={settings.precision} is not supported: use 32-true, bf16-mixed or 16-mixed"
        )
    if settings.get("overfit_batches"):
        raise ValueError(
            "trainer.overfit_batches is not supported: it would put another order of triplets in the place of the"
            " data's own. To see a model learn one batch by heart: debug=overfit"
        )
    if settings.get("fast_dev_run"):
        raise ValueError(
            "trainer.fast_dev_run is not supported: it would leave out what a run writes. Two steps of everything:"
            " debug=fast"
        )
    # A run that is shorter than the interval is validated once, at its end.
    batches = settings.max_steps * settings.accumulate_grad_batches
    interval = settings.val_check_interval
    shown = settings.enable_progress_bar
    callbacks = [building.build(node) for name, node in config.callbacks.items() if shown or name != "progress"]
    trainer = building.ready_trainer(
        settings,
        on_loss=status.note_loss,
        val_check_interval=min(interval, batches) if isinstance(interval, int) else interval,
        callbacks=[*callbacks, status],
        logger=[MetricsCSV(str(run_dir)), *(building.build(node) for node in config.logger.values())],
        plugins=[ThreadedCheckpointIO(), *_slurm()],
        default_root_dir=str(run_dir),
    )
    return trainer, callbacks


def _slurm() -> list[SLURMEnvironment]:
    """SLURM's ranks, if it started this process; requeueing is not Lightning's: see StopOnSignal."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def _claim(run_dir: Path, config: DictConfig, untruths: Sequence[Mapping[str, Any]]) -> None:
    """Writes the composed config, unresolved, and what was made untrue in the data; points `latest` at the run."""
    write_text(run_dir / "config.yaml", OmegaConf.to_yaml(config))  # other ranks may be reading it
    if untruths:
        write_json_lines(run_dir / "untruths.jsonl", untruths)
    if HydraConfig.get().runtime.choices.get("debug") is None:  # which nobody means by the latest run
        write_link(run_dir.parent / "latest", run_dir.name)


def _report_size(system: L.LightningModule, name: str, precision: str) -> None:
    counts = [(p.numel(), p.requires_grad) for p in system.parameters()]
    total, trained = sum(n for n, _ in counts), sum(n for n, trained in counts if trained)
    log.info(
        "%s: %.1f M parameters, %.1f M trained; precision %s",
        name,
        total / 1e6,
        trained / 1e6,
        precision,
    )
