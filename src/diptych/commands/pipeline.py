"""The third entry point: runs the stages of a pipeline.

    python -m diptych.pipeline pipeline=news_retrieval data=newsroom
    python -m diptych.pipeline pipeline=ensemble inputs=[a.json,b.json] output=out.json

Each stage keeps its records in a folder of its own; the same command goes on where it was stopped.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych.commands.evaluation import quiet_lightning
from diptych.commands.news_captioning import caption_news
from diptych.config import building, checking
from diptych.report.retrieval_report import write_retrieval_report
from diptych.stages.running.runner import PipelineRunner, StageCounts, StageRun

log = logging.getLogger(__name__)

_EACH = "ENCODER"


def run_pipeline(config: DictConfig) -> None:
    """Runs the composed pipeline's stages, in their order.

    Raises:
        ValueError: the config cannot be run, or every record of a stage failed; then all stages have run all the same.
    """
    config = prepare_config(config)
    runs = stage_runs(config)
    if config.get("dry_run"):
        print_estimates(runs)
        return
    quiet_lightning()
    work_dir = Path(config.work_dir)
    own = {"logger": False, "enable_progress_bar": False, "default_root_dir": str(work_dir)}  # the runner has a bar
    trainer = building.build_trainer(config.trainer, **own)
    runner = PipelineRunner(trainer, work_dir, config.retry_failures, config.trainer.enable_progress_bar)
    with runner.lockstep.main_first():
        prepare_source(config)
    counts = runner.run(runs)
    if runner.lockstep.is_main:
        if "articles" in config.stages:
            source = building.build(config.source, _convert_="all")
            print(f"report: {write_retrieval_report(work_dir / 'report', runs, source, config.split)}")  # noqa: T201
        print(f"everything is in {work_dir}")  # noqa: T201
    if config.get("ckpt") is not None:
        caption_news(config, HydraConfig.get().overrides.task, trainer, runner)
    check_outcome(runs, counts)


def prepare_config(config: DictConfig) -> DictConfig:
    """The config with one stage for each encoder where it says ENCODER, and with its source named.

    Raises:
        ValueError: one of the pipeline's values is missing, or it has no encoder where it needs one.
    """
    missing = [key for key in config if OmegaConf.is_missing(config, key)]
    if missing:
        raise ValueError(f"pipeline={config.name} needs {', '.join(f'{key}=...' for key in missing)}")
    plain = OmegaConf.to_container(config)
    if not plain["encoders"] and any(_EACH in str(name) for name in plain["stages"]):
        raise ValueError(
            f"pipeline={config.name} has no encoder to search with; choose data=newsroom or data=openevents, which have"
            " some, or add one: +encoder@encoders.clip=clip_b32"
        )
    plain = {key: _expand(value, list(plain["encoders"])) for key, value in plain.items()}
    sources = list(plain["data"]["sources"])
    if len(sources) == 1:
        plain["source"] = f"${{data.sources.{sources[0]}}}"
    return OmegaConf.create(plain)


def prepare_source(config: DictConfig) -> None:
    """Makes what the source can make: a generated set."""
    if config.source is not None:
        building.build(config.source, _convert_="all").prepare()


def stage_runs(config: DictConfig) -> list[StageRun]:
    """The stages of a prepared config that are not null, built (which reads nothing), with their folders and settings.

    Raises:
        ValueError: a stage has an unknown argument, or one that it refuses.
    """
    runs = []
    folders = OmegaConf.to_container(config.folders, resolve=True)
    for name, node in config.stages.items():
        if node is None:  # switched off
            continue
        settings = OmegaConf.to_container(node, resolve=True)
        checking.check_section(f"stages.{name}", settings)
        stage = building.build(node, _convert_="all")
        runs.append(StageRun(str(name), stage, Path(folders.get(name, Path(config.work_dir) / str(name))), settings))
    if not runs:
        raise ValueError(f"pipeline={config.name} has no stages")
    return runs


def check_outcome(runs: Sequence[StageRun], counts: Mapping[str, StageCounts]) -> None:
    """Raises ValueError when every record of a stage failed: what has come of the run is of no use."""
    without = [run for run in runs if run.name in counts and counts[run.name].failed and not counts[run.name].done]
    if without:
        first = without[0]
        raise ValueError(
            f"no record could be made in {', '.join(run.name for run in without)}. {first.name}:"
            f" {counts[first.name].describe()}; {first.folder / 'failures.jsonl'} says why, record by record, and"
            " retry_failures=true tries them again"
        )


def print_estimates(runs: Sequence[StageRun]) -> None:
    """What the stages that ask a model have yet to ask, and what that costs; nothing is sent."""
    estimates = {run.name: run.stage.estimate() for run in runs if hasattr(run.stage, "estimate")}
    for name, estimate in estimates.items():
        print("\n".join(estimate.lines(name)))  # noqa: T201
    if any(estimate.usual_usd is None for estimate in estimates.values()):
        total = "what it costs is not known, the model has no price"
    else:
        usual, most = (sum(getattr(one, key) for one in estimates.values()) for key in ("usual_usd", "most_usd"))
        total = f"{usual:.2f} USD, at most {most:.2f} before retries"
    print(f"all stages: {total}; nothing was sent")  # noqa: T201


def _expand(value: Any, encoders: list[str]) -> Any:
    """Keys and list entries that say ENCODER once for each encoder."""
    if isinstance(value, Mapping):
        expanded: dict[Any, Any] = {}
        for key, inner in value.items():
            for encoder in encoders if _EACH in str(key) else (None,):
                own = inner if encoder is None else _replace(inner, encoder)
                expanded[key if encoder is None else str(key).replace(_EACH, encoder)] = _expand(own, encoders)
        return expanded
    if isinstance(value, list):
        return [
            _expand(_replace(item, encoder), encoders)
            for item in value
            for encoder in (encoders if isinstance(item, str) and _EACH in item else ("",))
        ]
    return value


def _replace(value: Any, encoder: str) -> Any:
    if isinstance(value, Mapping):
        return {_replace(key, encoder): _replace(inner, encoder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replace(item, encoder) for item in value]
    return value.replace(_EACH, encoder) if isinstance(value, str) and encoder else value
