"""The third entry point: runs the stages of a pipeline.

    python -m diptych.pipeline pipeline=news_retrieval data=newsroom
    python -m diptych.pipeline pipeline=ensemble inputs=[a.json,b.json] output=out.json

Each stage keeps its records in a folder of its own; the same command goes on where it was stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from diptych.commands.quiet_lightning import quiet_lightning
from diptych.commands.served_model import check_one_process, check_server
from diptych.commands.swept_status import swept_status
from diptych.config import building, checking
from diptych.config.plain_config import plain_section
from diptych.config.replacements import PLACES
from diptych.config.stage_configs import stage_configs, stage_settings
from diptych.parallel.devices import on_gpu
from diptych.stages.running.manifest import as_begun
from diptych.stages.running.runner import PipelineRunner, StageCounts, StageRun
from diptych.storage.file_lock import RUN_PATIENCE, locked
from diptych.storage.record_log import RecordFile
from diptych.text.printable import printable

log = logging.getLogger(__name__)


def run_pipeline(config: DictConfig) -> None:
    """Runs the composed pipeline's stages, in their order.

    Raises:
        ValueError: the config cannot be run, or every record of a stage failed; then all stages have run all the same.
    """
    config = prepare_config(config)
    with swept_status(Path(HydraConfig.get().runtime.output_dir)):
        _run(config)


def _run(config: DictConfig) -> None:
    if config.get("dry_run"):
        print_estimates(stage_runs(config))
        return
    quiet_lightning()
    work_dir = Path(config.work_dir)
    own = {"logger": False, "enable_progress_bar": False, "default_root_dir": str(work_dir)}  # the runner has a bar
    trainer = building.build_trainer(config.trainer, **own)  # first: it says where the stages' models will compute
    if config.get("server") is not None:
        check_one_process(trainer)
    runs = stage_runs(config)
    busy = f"{work_dir}: another pipeline is at work here; wait for it, or name another folder"
    alone = locked(work_dir / ".pipeline.lock", RUN_PATIENCE, busy)
    with alone if rank_zero_only.rank == 0 else nullcontext():  # type: ignore[attr-defined]  # set out of mypy's sight
        _run_stages(config, trainer, runs, work_dir)


def _run_stages(config: DictConfig, trainer: L.Trainer, runs: Sequence[StageRun], work_dir: Path) -> None:
    if on_gpu():  # TF32, for encoders that compute in float32; rankings keep full float32 (`ranking`)
        torch.set_float32_matmul_precision("high")
    runner = PipelineRunner(trainer, work_dir, config.retry_failures, config.trainer.enable_progress_bar)
    with runner.lockstep.main_first():
        prepare_source(config)
    counts = runner.run(runs)
    if runner.lockstep.is_main:
        print(f"everything is in {work_dir}")  # noqa: T201
    check_outcome(runs, counts)


def prepare_config(config: DictConfig) -> DictConfig:
    """A copy of the config, its source named.

    Raises:
        ValueError: one of the pipeline's values is missing.
    """
    checking.check_given(config)
    if config.get("server") is not None:
        check_server(config)
    plain = plain_section(config, resolve=False)
    for name in PLACES:
        if plain.get(name) is not None and f"${{{name}}}" not in str(plain["stages"]):
            raise ValueError(f"{name}: no stage of pipeline={config.name} writes captions with a checkpoint of its own")
    sources = list(plain["data"]["sources"])
    if len(sources) == 1:
        plain["source"] = f"${{data.sources.{sources[0]}}}"
    return OmegaConf.create(plain)


def prepare_source(config: DictConfig) -> None:
    """Makes what the source can make: a generated set."""
    if config.source is not None:
        building.build(config.source, _convert_="all").prepare()


def stage_runs(config: DictConfig) -> list[StageRun]:
    """The stages of a prepared config that are not null, built, with their folders and settings. Of what is there only
    the manifests of the folders are read: see `as_begun`.

    Raises:
        ValueError: a stage has an unknown argument, or one that it refuses; a manifest is damaged.
    """
    runs = []
    for one in stage_configs(config):
        settings = as_begun(stage_settings(config, one), one.folder)
        checking.check_section(f"stages.{one.name}", settings)
        node = OmegaConf.create({"stage": settings})
        building.settle(node, "stage")
        settings = plain_section(node.stage)
        stage = building.build(node.stage, _convert_="all")
        runs.append(StageRun(one.name, stage, one.folder, settings))
    if not runs:
        raise ValueError(f"pipeline={config.name} has no stages")
    return runs


def check_outcome(runs: Sequence[StageRun], counts: Mapping[str, StageCounts]) -> None:
    """Raises ValueError when every record of a stage failed: what has come of the run is of no use."""
    without = [run for run in runs if run.name in counts and counts[run.name].failed and not counts[run.name].done]
    if without:
        first = without[0]
        failures = RecordFile(first.folder, first.stage.record_key, name="failures").records().values()
        said = next((f" The first: {failure['message']}" for failure in failures if failure.get("message")), "")
        raise ValueError(
            f"no record could be made in {', '.join(run.name for run in without)}. {first.name}:"
            f" {counts[first.name].describe()}; {first.folder / 'failures.jsonl'} says why, record by record, and"
            f" retry_failures=true tries them again.{said}"
        )


def print_estimates(runs: Sequence[StageRun]) -> None:
    """What the stages that ask a model have yet to ask, and what that costs; nothing is sent."""
    found = {run.name: run.stage.estimate() for run in runs}
    estimates = {name: estimate for name, estimate in found.items() if estimate is not None}
    for name, estimate in estimates.items():
        print(printable("\n".join(estimate.lines(name))))  # noqa: T201
    if any(estimate.usual_usd is None for estimate in estimates.values()):
        total = "what it costs is not known, the model has no price"
    else:
        usual, most = (sum(getattr(one, key) for one in estimates.values()) for key in ("usual_usd", "most_usd"))
        total = f"{usual:.2f} USD, at most {most:.2f} before retries"
    print(f"all stages: {total}; nothing was sent")  # noqa: T201
