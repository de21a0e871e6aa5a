"""From a photo to its enriched caption: what the pipeline `caption_news` does after its stages."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from diptych.commands.caption_scoring import caption_and_score
from diptych.config.trained import build_trained, checkpoint_path, config_of
from diptych.data.news.base_captions import read_base_captions
from diptych.data.news.captions_file import read_captions
from diptych.data.news.retrieval_file import article_ids, read_retrieval
from diptych.parallel import checkpoints
from diptych.stages.running.manifest import open_folder
from diptych.stages.running.record_stage import RecordStage
from diptych.stages.running.runner import PipelineRunner
from diptych.submission.eventa import write_eventa

log = logging.getLogger(__name__)


def caption_news(config: DictConfig, overrides: Sequence[str], trainer: L.Trainer, runner: PipelineRunner) -> None:
    """Writes and scores the captions of `config.split` with the fuser `config.ckpt`, from the articles and the base
    captions that the stages have left, into the folder `caption`; and EVENTA's submission file into `submission`.

    The fuser's own data settings hold (its prompt, its selection of chunks), but for `data.` settings among
    `overrides`, the command line.

    Raises:
        ValueError: the checkpoint is no fuser's, or what it needs is missing.
    """
    work_dir = Path(config.work_dir)
    retrieval = work_dir / "articles" / "retrieval.json"
    base_captions = work_dir / "describe" / "base_captions.csv"
    path = checkpoint_path(config.ckpt)
    checkpoint = checkpoints.load(path)
    trained = config_of(checkpoint)
    data = fuser_data(trained, config, overrides)
    data.retrieval, data.base_captions = str(retrieval), str(base_captions)
    datamodule, system = build_trained(trained, data, config.data_dir)
    if system.kind != "captions":
        raise ValueError(f"{path}: this checkpoint composes images, it writes no captions; name a fuser's")
    folder = work_dir / "caption"
    with runner.lockstep.main_first():
        if runner.lockstep.is_main:
            made_with = RecordStage()
            made_with.input_files = [retrieval, base_captions, path]
            settings = {"data": OmegaConf.to_container(data), "split": config.split}
            open_folder(folder, "caption", settings, made_with)
        datamodule.prepare_evaluation(config.split)
    system.load_pretrained(trainer.strategy.root_device, weights_follow=True)
    checkpoints.load_weights(system, checkpoint, path)
    about: dict[str, Any] = {"experiment": trained.name, "checkpoint": str(path), "seed": trained.seed}
    caption_and_score(trainer, system, datamodule, config.split, folder, ablation=config.ablation, **about)
    if runner.lockstep.is_main:
        query_ids = [query.query_id for query in datamodule.source.queries(config.split)]
        captions = without_blanks(read_captions(folder / "predictions.jsonl"), read_base_captions(base_captions))
        path = write_eventa(work_dir / "submission", captions, article_ids(read_retrieval(retrieval)), query_ids)
        print(f"submission file: {path}")  # noqa: T201


def fuser_data(trained: DictConfig, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The data section that the fuser was trained with, reading this pipeline's source, and with the settings below
    `data` that the command line names: single ones, or groups (`prompt@data.preparation.prompt=no_ratio`).
    """
    data = OmegaConf.create({"data": OmegaConf.to_container(trained.data)})
    plain = OmegaConf.to_container(config)
    for word in overrides:
        name = word.lstrip("+~").split("=")[0].split("@")[-1]
        if name.startswith("data."):
            value = OmegaConf.select(OmegaConf.create(plain), name, throw_on_resolution_failure=False)
            OmegaConf.update(data, name, _plain(value), merge=False, force_add=True)
    data.data.sources = OmegaConf.to_container(config.data.sources, resolve=True)
    data.data.cache = OmegaConf.select(config, "data.cache")
    return data.data


def without_blanks(captions: Mapping[str, str], base_captions: Mapping[str, str]) -> dict[str, str]:
    """The captions with the base caption in the place of a blank one, which a submission may not hold; said aloud."""
    blank = [query_id for query_id, caption in captions.items() if not caption.strip()]
    if blank:
        log.warning("%d captions are blank; the submission has their base captions: %s", len(blank), ", ".join(blank))
    return {**captions, **{query_id: base_captions.get(query_id, "") for query_id in blank}}


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
