"""What `train.py` does, once Hydra has composed the config."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych import checkpoints, composition
from diptych.callbacks.stop_on_signal import StopOnSignal
from diptych.checkpoints import AtomicCheckpointIO
from diptych.data.cir_datamodule import CIRDataModule
from diptych.evaluation import evaluate_system, quiet_lightning
from diptych.feature_preparation import check_cacheable, prepare_features
from diptych.loggers.metrics_csv import MetricsCSV

log = logging.getLogger(__name__)

# What may change when a run is resumed; everything else would make it another run.
RESUME_OVERRIDES = ("trainer.", "callbacks.", "logger", "data.num_workers", "data.root", "data_dir", "evaluate_at_end")


def train(config: DictConfig) -> None:
    """Trains the composed experiment in Hydra's run directory, or continues the run that `resume` names."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    resume, main_rank = config.resume is not None, config.join_run is None
    if resume or not main_rank:
        config = _config_of_run(run_dir, HydraConfig.get().overrides.task)
    composition.check_data_fits_system(config)
    composition.check(config, composition.root_keys("train"))

    datamodule = composition.build(config.data)
    datamodule.prepare_training()  # before any weights: missing data must not cost a download
    L.seed_everything(config.seed, workers=True, verbose=False)
    system = composition.build(config.system)
    caches_features = isinstance(datamodule, CIRDataModule) and datamodule.feature_cache is not None
    if caches_features:
        check_cacheable(system.model.backbone)
    shown = config.trainer.enable_progress_bar
    callbacks = [composition.build(node) for name, node in config.callbacks.items() if shown or name != "progress"]
    csv = MetricsCSV(str(run_dir))
    trainer = _build_trainer(config, run_dir, callbacks, [csv, *(composition.build(n) for n in config.logger.values())])
    last = run_dir / "checkpoints" / "last.ckpt"
    system.load_pretrained(trainer.strategy.root_device, weights_follow=bool(resume or config.init_from))
    if resume:
        checkpoint = checkpoints.load(last)
        step = checkpoint["global_step"]
        checkpoints.load_weights(system, checkpoint, last)  # the feature cache is looked up by the backbone's weights
        log.info("continuing %s at step %d", run_dir, step)
    elif config.init_from:
        checkpoints.load_weights(system, checkpoints.load(config.init_from), config.init_from)
    if main_rank:
        _claim(run_dir, config)
        if resume:
            csv.resume_from(step)
        _report_size(system, config)
        # Lightning starts the other ranks with this command line: not a sweep's, not a new run's.
        sys.argv = [sys.argv[0], f"join_run={run_dir}", *([f"resume={run_dir}"] if resume else [])]
    if caches_features:
        device = trainer.strategy.root_device
        datamodule.read_features(prepare_features(system.model.backbone, datamodule, datamodule.feature_cache, device))
    try:
        trainer.fit(system, datamodule=datamodule, ckpt_path=str(last) if resume else None, weights_only=True)
    except torch.OutOfMemoryError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"out of memory at step {trainer.global_step}: lower {system.MEMORY_SETTINGS} ({reason})"
        ) from error

    if any(isinstance(callback, StopOnSignal) and callback.stopped for callback in callbacks):
        print(f"stopped at step {trainer.global_step}; continue with: python train.py resume={run_dir}")  # noqa: T201
        return
    if config.evaluate_at_end:
        best = run_dir / "checkpoints" / "best.ckpt"
        best = best if best.exists() else last
        checkpoints.load_weights(system, checkpoints.load(best), best)
        datamodule.test_split = datamodule.validation_split
        about = {"experiment": config.name, "checkpoint": str(best), "seed": config.seed}
        evaluate_system(trainer, system, datamodule, run_dir, **about)


def _config_of_run(run_dir: Path, overrides: list[str]) -> DictConfig:
    """The config that the run directory was made with, with the few settings that may change on resume."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir}: there is no run to resume here (no config.yaml)")
    config = OmegaConf.load(path)
    changes = [word.lstrip("+") for word in overrides if not word.startswith(("resume=", "join_run=", "name="))]
    refused = [word for word in changes if not word.startswith(RESUME_OVERRIDES)]
    if refused:
        raise ValueError(
            f"resuming {run_dir} with {', '.join(refused)} would be another run; these may change: "
            f"{', '.join(RESUME_OVERRIDES)}. A new run from its weights: init_from={run_dir}/checkpoints/best.ckpt"
        )
    return OmegaConf.merge(config, OmegaConf.from_dotlist(changes))


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
    return composition.build(
        settings,
        val_check_interval=min(interval, batches) if isinstance(interval, int) else interval,
        callbacks=callbacks,
        logger=loggers,
        plugins=[AtomicCheckpointIO()],
        default_root_dir=str(run_dir),
    )


def _claim(run_dir: Path, config: DictConfig) -> None:
    """Writes the composed config, unresolved, and points `latest` at the run."""
    (run_dir / "config.yaml").write_text(OmegaConf.to_yaml(config))
    latest = run_dir.parent / "latest"
    temporary = run_dir.parent / f".latest.{run_dir.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run_dir.name)
    temporary.replace(latest)


def _report_size(system: L.LightningModule, config: DictConfig) -> None:
    counts = [(p.numel(), p.requires_grad) for p in system.parameters()]
    total, trained = sum(n for n, _ in counts), sum(n for n, trained in counts if trained)
    log.info(
        "%s: %.1f M parameters, %.1f M trained; precision %s",
        config.name,
        total / 1e6,
        trained / 1e6,
        config.trainer.precision,
    )
