"""What `train.py` does, once Hydra has composed the config."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from diptych.callbacks.status_keeper import StatusKeeper
from diptych.callbacks.stop_on_signal import StopOnSignal, StoppedBySignal
from diptych.commands.evaluation import evaluate_system, quiet_lightning
from diptych.config import building, checking
from diptych.config.command_line import called_as, set_command_line, shown_command
from diptych.config.strangers import SECTIONS, config_of_run
from diptych.config.trained import load_first_weights, with_model_of_checkpoint
from diptych.config.written_places import keep_within
from diptych.loggers.metrics_csv import MetricsCSV
from diptych.parallel import checkpoints
from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.parallel.distributed import rank
from diptych.parallel.sharding import check_shardable
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.whole import write_file, write_link

log = logging.getLogger(__name__)

# What may change when a run is resumed; everything else would make it another run.
RESUME_OVERRIDES = (
    "trainer.",
    "callbacks.",
    "logger",
    "data.num_workers",
    "data.root",
    "data.training.shards=",
    "data_dir",
    "evaluate_at_end",
)


def train(config: DictConfig) -> float | None:
    """Trains the composed experiment in Hydra's run directory, or goes on with the run that `resume` names: from its
    last checkpoint, or from the start if it has none yet. Returns the best value of the primary metric.

    The run's status.json says how it goes. Raises ValueError when another process trains in that directory.
    """
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    words = list(HydraConfig.get().overrides.task)
    joins = config.join_run is not None
    # Lightning's other ranks and SLURM's are not.
    started_here = not joins and rank_zero_only.rank == 0  # type: ignore[attr-defined]  # set out of mypy's sight
    # A job script of the user's own that SLURM has queued again: the same command in the same folder.
    came_back = int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0 and (run_dir / "config.yaml").is_file()
    resume = config.resume is not None or came_back
    if resume or joins:
        # What a rank joins, and what SLURM has queued again, was looked at, or made, by the process that began it.
        trusted = config.trust_run or came_back
        config = _config_of_run(run_dir, [] if came_back else words, trusted)
    config = with_model_of_checkpoint(config)
    guard = locked(run_dir / ".lock", RUN_PATIENCE, f"{run_dir}: another process trains here; wait for it, or stop it")
    with guard if started_here else nullcontext():
        status = StatusKeeper(run_dir, words, active=started_here)
        with status.noting_failures():
            _run(config, run_dir, status, resume, started_here)
    objective = status.status.objective
    return None if objective is None else objective.value


def _run(config: DictConfig, run_dir: Path, status: StatusKeeper, resume: bool, started_here: bool) -> None:
    """Builds everything, trains, and scores the best checkpoint."""
    checking.check_data_fits_system(config)
    checking.check(config, checking.root_keys("train"))
    checking.check_data_root(config)
    datamodule = building.build_data(config.data)
    datamodule.prepare_training()  # before any model: missing data must not cost a download
    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision("high" if config.get("tf32") else "highest")  # absent from earlier configs
    system = building.build(config.system)
    datamodule.prepare_for(system)
    shown = config.trainer.enable_progress_bar
    callbacks = [building.build(node) for name, node in config.callbacks.items() if shown or name != "progress"]
    csv = MetricsCSV(str(run_dir))
    loggers = [csv, *(building.build(node) for node in config.logger.values())]
    trainer = _build_trainer(config, run_dir, [*callbacks, status], loggers)
    check_shardable(trainer, system)  # before any weights
    last = run_dir / "checkpoints" / "last.ckpt"
    goes_on = resume and last.exists()
    system.load_pretrained(trainer.strategy.root_device, weights_follow=bool(goes_on or config.init_from))
    if goes_on:
        checkpoint = checkpoints.load(last, weights_alone=True)
        step = checkpoints.step_of(checkpoint, last)
        checkpoints.load_weights(system, checkpoint, last)  # the feature cache is looked up by the backbone's weights
        log.info("continuing %s at step %d", run_dir, step)
    elif config.init_from:
        load_first_weights(system, config)
    if started_here:
        _claim(run_dir, config)
        if resume:
            csv.resume_from(step if goes_on else 0)
        _report_size(system, config.name, trainer.precision)
        # Lightning starts the other ranks with this command line: not a sweep's, not a new run's.
        set_command_line(
            [*called_as(), f"join_run={run_dir}", "trust_run=true", *([f"resume={run_dir}"] if goes_on else [])]
        )
    datamodule.prepare_from_weights(system, trainer.strategy.root_device)
    _fit(trainer, system, datamodule, last if goes_on else None)

    stops = [callback for callback in callbacks if isinstance(callback, StopOnSignal) and callback.stopped]
    if stops:
        status.note(state="stopped")
        print(f"stopped at step {trainer.global_step}; continue with: {shown_command()} resume={run_dir}")  # noqa: T201
        stops[0].hand_over()  # may end the process: the last act
        return
    if rank() == 0:
        checkpoints.consolidate(run_dir / "checkpoints")  # of a sharded run: ordinary files
    trainer.strategy.barrier()
    if config.evaluate_at_end:
        best = run_dir / "checkpoints" / "best.ckpt"
        best = best if best.exists() else last
        checkpoints.load_weights(system, checkpoints.load(best, weights_alone=True), best)
        about = {"experiment": config.name, "checkpoint": str(best), "seed": config.seed}
        evaluate_system(trainer, system, datamodule, datamodule.validation_split, run_dir, **about)
    status.note(state="done")


def _fit(trainer: L.Trainer, system: L.LightningModule, datamodule: L.LightningDataModule, last: Path | None) -> None:
    try:
        trainer.fit(system, datamodule=datamodule, ckpt_path=None if last is None else str(last), weights_only=True)
    except StoppedBySignal:
        pass  # from the middle of a validation; last.ckpt is there
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"out of memory at step {trainer.global_step}: lower {system.MEMORY_SETTINGS} ({reason})"
        ) from error


def _config_of_run(run_dir: Path, overrides: list[str], trusted: bool) -> DictConfig:
    """The config that the run directory was made with, with the few settings that may change on resume.

    Whoever made the folder made it: unless it is `trusted`, it is held to what a checkpoint's config may say.
    """
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir}: there is no run to resume here (no config.yaml)")
    config = config_of_run(path, trusted)
    meta = ("resume=", "join_run=", "name=", "trust_run=")
    changes = [word.lstrip("+") for word in overrides if not word.startswith(meta)]
    refused = [word for word in changes if not word.startswith(RESUME_OVERRIDES)]
    if refused:
        raise ValueError(
            f"resuming {run_dir} with {', '.join(refused)} would be another run; these may change: "
            f"{', '.join(RESUME_OVERRIDES)}. A new run from its weights: init_from={run_dir}/checkpoints/best.ckpt"
        )
    # Two sections make a section, which merge's type does not say.
    changed = cast(DictConfig, OmegaConf.merge(config, OmegaConf.from_dotlist(changes)))
    if not trusted:
        said = [word.partition("=")[2] for word in changes if word.startswith(("data_dir=", "data.root="))]
        keep_within(changed, SECTIONS, os.environ.get("DIPTYCH_DATA", "data"), *said, run_dir)
    return changed


def _build_trainer(config: DictConfig, run_dir: Path, callbacks: list, loggers: list) -> L.Trainer:
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
    # A run that is shorter than the interval is validated once, at its end.
    batches = settings.max_steps * settings.accumulate_grad_batches
    interval = settings.val_check_interval
    return building.build(
        settings,
        precision=building.chosen_precision(settings),
        val_check_interval=min(interval, batches) if isinstance(interval, int) else interval,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO(), *_slurm()],
        default_root_dir=str(run_dir),
    )


def _slurm() -> list[SLURMEnvironment]:
    """SLURM's ranks, if it started this process; requeueing is not Lightning's: see StopOnSignal."""
    return [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []


def _claim(run_dir: Path, config: DictConfig) -> None:
    """Writes the composed config, unresolved, and points `latest` at the run."""
    write_file(run_dir / "config.yaml", OmegaConf.to_yaml(config).encode())  # other ranks may be reading it
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
