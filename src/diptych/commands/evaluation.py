"""What `evaluate.py` does, once Hydra has composed the config; and the scoring that training ends with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import lightning as L
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from diptych.commands.caption_scoring import caption_and_score
from diptych.commands.caption_variants import ablation_variants
from diptych.commands.prediction_scoring import score_rankings
from diptych.commands.quiet_lightning import quiet_lightning
from diptych.commands.served_model import check_one_process, check_server, origin, prompt_server, served_model
from diptych.commands.swept_status import swept_status
from diptych.commands.tracking import send_results
from diptych.commands.zero_shot import untrained
from diptych.config import building, checking
from diptych.config.other_photos import with_other_photos
from diptych.config.plain_config import plain_section, typed_overrides
from diptych.config.presence import files_named, names_data_folder, require_drawn
from diptych.config.replacements import PLACES, errors_in_typed_words, replaced
from diptych.config.trained import build_trained, checkpoint_path, config_of
from diptych.contracts.models import TrainableSystem
from diptych.contracts.news import CaptionData, NewsSource
from diptych.contracts.retrieval import EvaluationSet, RetrievalData, TripletSource
from diptych.data.news.captions_file import read_captions_of_all
from diptych.metrics.retrieval.measuring import SetResult
from diptych.parallel import checkpoints
from diptych.parallel.distributed import part_ways, rank, world_size
from diptych.report.write import write_report
from diptych.results.caption_evaluation import (
    caption_items,
    captions_record,
    reference_scores,
    score_captions,
)
from diptych.results.caption_signatures import caption_signatures
from diptych.results.caption_subset import CaptionSubset
from diptych.results.model_facts import backbone_facts
from diptych.results.results import retrieval_record
from diptych.systems.caption_fuser import CaptionFuserSystem

if TYPE_CHECKING:
    from diptych.systems.cir import CIRSystem  # captions are scored without it

log = logging.getLogger(__name__)

_OF_CAPTIONS = [name for name in PLACES if name != "metrics"]  # how a checkpoint writes captions


def evaluate(config: DictConfig) -> None:
    """Scores a checkpoint, a prediction file or an untrained system; leaves metrics.json, predictions.jsonl, report."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    checking.check_evaluation(config)  # data and system are checked together, when they are there
    ablation_variants(config.ablation)
    if config.predictions is None:
        _refuse_images(config)
    loggers = [building.build(node) for node in config.logger.values()]  # a package that is missing is said now
    with swept_status(run_dir):
        if config.predictions is not None:
            _evaluate_predictions(config, run_dir)
        elif config.ckpt is None:
            _evaluate_untrained(config, run_dir)
        else:
            _evaluate_checkpoint(config, run_dir)
        send_results(loggers, run_dir)


def _evaluate_checkpoint(config: DictConfig, run_dir: Path) -> None:
    _refuse_subset(config)
    if config.server is not None:
        check_server(config)
    path = checkpoint_path(config.ckpt)
    checkpoint = checkpoints.load(path, weights_alone=True)
    trained = config_of(checkpoint, path, config.data_dir)
    chosen = HydraConfig.get().runtime.choices.get("data")  # which several have not: data=[rooms,market]
    data = _data_of(trained, config, chosen)
    given, context = _replacements(config), {"data_dir": config.data_dir, "seed": trained.seed}
    new = replaced(trained.system, data, given, **context)
    trained.system = new.system
    with errors_in_typed_words(new.said):
        weights = checkpoints.weights_of(checkpoint, path)
        datamodule, system = build_trained(trained, new.data, config.data_dir, weights, path)
        if chosen == "checkpoint":
            asked = names_data_folder(typed_overrides())
            sources = getattr(datamodule, "sources", {})
            wanted = [sources[name] for name in getattr(datamodule, "evaluate_on", None) or sources]
            require_drawn(wanted, config.data_dir, asked, path)
        cast("RetrievalData | CaptionData", datamodule).prepare_evaluation(config.split)
    for name in ("ablation", "candidates", "post_processing", "server"):
        if config[name] and system.kind != CaptionFuserSystem.kind:
            raise ValueError(f"{name} is of captions, which this checkpoint does not write: leave it out")
    quiet_lightning()
    trainer = building.build_trainer(config.trainer, logger=False, default_root_dir=str(run_dir))
    server = served = None
    if config.server is None:
        cast(TrainableSystem, system).load_pretrained(trainer.strategy.root_device, weights_follow=True)
        checkpoints.load_weights(system, checkpoint, path)
    else:
        check_one_process(trainer)
        server = prompt_server(plain_section(config.server))
        served = served_model(server, weights)
    about = {"experiment": trained.name, "checkpoint": str(path), "step": checkpoint.get("global_step")}
    about |= {"seed": trained.seed, **origin(new, server)}
    options = {name: config[name] for name in ("ablation", "candidates", "post_processing")} | {"served": served}
    evaluate_system(trainer, system, datamodule, config.split, run_dir, options, **about)


def _data_of(trained: DictConfig, config: DictConfig, chosen: str | None) -> DictConfig:
    """The checkpoint's own data with single settings changed, or another dataset; of photos their prompts stay."""
    if chosen == "checkpoint":
        return cast(DictConfig, OmegaConf.merge(trained.data, config.data))
    if "preparation" in trained.data and "preparation" in config.data:
        return with_other_photos(trained.data, config.data, typed_overrides())
    return config.data


def _evaluate_untrained(config: DictConfig, run_dir: Path) -> None:
    _refuse_of_captions(config, "an untrained system")
    if _asked_for("metrics") or _single_keys(config, "metrics"):
        raise ValueError("metrics are those of a checkpoint or a file; of system=zero_shot choose system/metrics=[...]")
    quiet_lightning()
    trainer = building.build_trainer(config.trainer, logger=False, default_root_dir=str(run_dir))
    datamodule, system, name = untrained(config)
    cast(TrainableSystem, system).load_pretrained(trainer.strategy.root_device)
    about = {"experiment": "zero_shot", "checkpoint": name, "seed": config.seed}
    evaluate_system(trainer, system, datamodule, config.split, run_dir, **about)


def _replacements(config: DictConfig) -> dict[str, Any]:
    """What is to stand in the place of the checkpoint's settings. Of metrics, which have a default for files, what was
    asked for: names, or single keys of the checkpoint's own.
    """
    plain = plain_section(config, resolve=False)
    if _asked_for("caption_metrics"):
        raise ValueError("caption_metrics are those of a file of captions; of a checkpoint choose metrics=[...]")
    metrics = plain["metrics"] if _asked_for("metrics") else _single_keys(config, "metrics")
    return {**{name: plain[name] for name in _OF_CAPTIONS}, "metrics": metrics}


def _refuse_subset(config: DictConfig) -> None:
    if CaptionSubset(**plain_section(config.caption_subset)) != CaptionSubset():
        raise ValueError("caption_subset is of a file of captions: leave it out, or name one, predictions=FILE")


def _refuse_images(config: DictConfig) -> None:
    if config.images is not None:
        raise ValueError("images are those of a file of rankings: leave it out, or name one, predictions=FILE")


def _refuse_of_captions(config: DictConfig, what: str) -> None:
    for name in (*_OF_CAPTIONS, "ablation", "candidates", "post_processing", "server"):
        if config[name]:
            raise ValueError(f"{name} says how a checkpoint writes captions: {what} has none, leave it out")


def _asked_for(metrics: str) -> bool:
    """Whether the command line names the `metrics`, or the `caption_metrics`."""
    return any(word.startswith(f"system/metrics@{metrics}=") for word in typed_overrides())


def _single_keys(config: DictConfig, section: str) -> dict[str, Any] | None:
    """The settings below a section that the command line names, and nothing else of it."""
    found = OmegaConf.create({})
    for word in typed_overrides():
        key = word.lstrip("+~").split("=")[0]
        if not key.startswith(f"{section}."):
            continue
        if word.startswith("~"):
            raise ValueError(f"{word}: name those that are to be measured instead, {section}=[...]")
        OmegaConf.update(found, key, OmegaConf.select(config, key), force_add=True)
    return plain_section(found)[section] if found else None


def evaluate_system(
    trainer: L.Trainer,
    system: L.LightningModule,
    datamodule: L.LightningDataModule,
    split: str,
    run_dir: Path,
    caption_options: Mapping[str, Any] | None = None,
    **about: Any,
) -> None:
    """Scores a split of the data as befits the system's kind, and writes everything into the run's folder."""
    # Lightning's classes know nothing of what ours have beside; the kind says which they are.
    if system.kind == "captions":
        fuser, news = cast(CaptionFuserSystem, system), cast(CaptionData, datamodule)
        caption_and_score(trainer, fuser, news, split, run_dir, **(caption_options or {}), **about)
    elif system.kind == "retrieval":
        score(trainer, cast("CIRSystem", system), cast(RetrievalData, datamodule), split, run_dir, **about)
    else:
        raise ValueError(f"a system of the kind {system.kind!r} has no evaluation here: retrieval and captions have")


def score(
    trainer: L.Trainer, system: CIRSystem, datamodule: RetrievalData, split: str, run_dir: Path, **about: Any
) -> None:
    """Embeds, ranks, measures and writes everything; every rank computes, the first one writes."""
    loaders = cast(L.LightningDataModule, datamodule.to_test(split))  # which a Protocol cannot say
    trainer.test(system, datamodule=loaders, verbose=False)
    first, processes = rank() == 0, world_size()
    if not building.in_sweep():
        part_ways()
    if first:
        sets = datamodule.evaluation_sets(split)
        about |= {"data": [evaluation.name for evaluation in sets], "split": split}
        about |= {"world_size": processes, "model": backbone_facts(system.model.backbone)}
        record = retrieval_record(system.results, **about)
        record.write(run_dir)
        _write_reports(run_dir / "report", system.results, sets, about)
        sources = [datamodule.sources[evaluation.name] for evaluation in sets]
        _write_submissions(run_dir, system.results, sources, split)
        record.print(run_dir)


def _write_reports(
    folder: Path, results: Sequence[SetResult], sets: Sequence[EvaluationSet], about: Mapping[str, Any]
) -> None:
    """A report of the set, or of each set, with the curves of the training's metrics.csv if it is there."""
    checkpoint = Path(about["checkpoint"]).resolve()
    curve = checkpoint.parent.with_name("metrics.csv") if checkpoint.parent.name == "checkpoints" else Path()
    for result, evaluation in zip(results, sets, strict=True):
        paths = {image.image_id: image.path for image in evaluation.gallery} | dict(evaluation.reference_paths)
        own = retrieval_record([result], **{**about, "data": result.name}).content()
        place = folder if len(results) == 1 else folder / result.name
        write_report(place, own, result.ranked, result.queries, paths, curve if curve.is_file() else None)


def _evaluate_predictions(config: DictConfig, run_dir: Path) -> None:
    """Scores a file of rankings, or of captions of news photos."""
    if HydraConfig.get().runtime.choices["data"] == "checkpoint":
        raise ValueError("a prediction file is scored on named data: add data=circo split=val, for example")
    _refuse_of_captions(config, "a prediction file")
    sources = {name: building.build(node) for name, node in config.data.sources.items()}
    if all(source.kind == NewsSource.kind for source in sources.values()):
        _refuse_images(config)
        _evaluate_captions(config, sources, run_dir)
        return
    _refuse_subset(config)
    score_rankings(config, sources, run_dir)


def _evaluate_captions(config: DictConfig, sources: dict[str, Any], run_dir: Path) -> None:
    """Scores `{"query id": "caption"}` against the split's reference captions."""
    ((name, source),) = sources.items()
    files = files_named(config.predictions)
    predictions, subset = read_captions_of_all(files), CaptionSubset(**plain_section(config.caption_subset))
    source.prepare()
    if source.answers_hidden(config.split):
        raise ValueError(f"the reference captions of {name} {config.split} are not published; choose split=val")
    queries = source.queries(config.split)
    chosen = "metrics" if _asked_for("metrics") else "caption_metrics"
    building.settle(config, chosen)  # before anything is computed
    metrics = {key: building.build(node) for key, node in config[chosen].items()}
    items = caption_items(predictions, queries, lambda query_id: source.image_path(config.split, query_id))
    items = subset.of(items)
    items, scores = subset.of_measured(items, score_captions(items, metrics))
    about = {"experiment": "predictions", "data": [name], "split": config.split, "checkpoint": ", ".join(files)}
    record = captions_record(scores, items, **about, seed=config.seed, world_size=1)
    record.num_scored = min(record.num_scored, len(items))
    record.metrics |= reference_scores(items, metrics)
    record.signatures = caption_signatures(record.metrics)
    record.write(run_dir)
    record.print(run_dir)


def _write_submissions(folder: Path, results: list[SetResult], sources: list[TripletSource], split: str) -> None:
    """The servers' files, on the splits whose answers are hidden."""
    from diptych.submission.servers import write

    for result, source in zip(results, sources, strict=True):
        if result.protocol.answers_hidden:
            for path in write(folder / "submission", result.ranked, source):
                print(f"submission file: {path}")  # noqa: T201
