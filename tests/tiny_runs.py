"""Runs of the entry points inside this process, with a model and settings that are small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from diptych.commands.catalogue import COMMANDS
from diptych.commands.evaluation import evaluate
from diptych.commands.pipeline import run_pipeline
from diptych.commands.training import train
from diptych.config import folder, resolvers
from diptych.config.command_line import with_open_sections
from diptych.config.own_weights import with_own_weights
from diptych.config.short_names import with_full_names, with_names_of_evaluations
from tiny_sets import TINY, TINY_MARKET, TINY_NEWS

ROOT = Path(__file__).resolve().parents[1]
TINY_MODEL = [
    "system/model/backbone=rooms_small",
    "system.model.backbone.architecture.vision_cfg={image_size:32,patch_size:16,width:32,layers:1,head_width:16}",
    "system.model.backbone.architecture.text_cfg={context_length:77,vocab_size:49408,width:16,heads:2,layers:1}",
    "system.model.backbone.architecture.embed_dim=16",
    "system.model.num_layers=1",
    "system.model.num_heads=2",
]
TINY_RUN = [
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=2",
    "trainer.accumulate_grad_batches=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
    "data.training.batch_size=8",
    "data.num_workers=0",
    "data.images.cache=null",
]


WITHOUT_ENTITIES = ["~system.metrics.entities", "~system.metrics.unsupported_entity_rate"]  # of fuser_newsroom
TINY_CAPTIONS = [
    "data/facts@data.preparation.facts=none",
    "system/metrics=[cider,bleu,rouge_l,length]",
    "system/generation@system.generator.settings=greedy",
    "system/optimizer=adamw",
    "system.model.quantization=none",
    "system.model.dtype=float32",
    "system.model.rank=4",
    "system.model.alpha=8",
    "system.model.recompute=0",
    "system.generator.settings.max_new_tokens=6",
    "data.preparation.max_prompt_tokens=2600",
    "data.row_length=4000",
    "data.batch_size=1",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_steps=2",
    "trainer.accumulate_grad_batches=1",
    "trainer.val_check_interval=1",
    "trainer.log_every_n_steps=1",
    "trainer.enable_progress_bar=false",
]

TINY_ROOMS_SIZES = [
    f"data.sources.rooms.settings.{name}={getattr(TINY, name)}"
    for name in ("num_train_hotels", "num_val_hotels", "num_test_hotels")
]
TINY_MARKET_SIZES = [
    f"data.sources.market.settings.{name}={getattr(TINY_MARKET, name)}"
    for name in ("num_train_stalls", "num_val_stalls", "num_test_stalls")
]
TINY_NEWS_SIZES = [
    f"++data.sources.newsroom.settings.{name}={getattr(TINY_NEWS, name)}"
    for name in ("num_train_families", "num_val_families", "num_test_families")
]
TINY_RETRIEVAL = [  # pipelines of photos; "+": settings that their stages have and their configs do not name
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "+stages.embed_gallery.batch_size=8",
    "+stages.embed_queries.batch_size=3",
    "+stages.verify_geometry.num_workers=1",
]


def tiny_captions(data: Path, chat_model: Path, sentence_model: Path) -> list[str]:
    """Overrides that make any captioning experiment tiny; it reads the newsroom set in `data`."""
    return [
        *TINY_CAPTIONS,
        f"data_dir={data}",
        f"system.model.name={chat_model}",
        f"data.preparation.selector.encoder.encoder.name={sentence_model}",
    ]


def run_train(run_dir: Path, *overrides: str) -> None:
    """`python train.py` with these overrides, in `run_dir`, in this process."""
    _run("train", train, run_dir, tuple(with_own_weights("train", overrides)))


def run_evaluate(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """`python evaluate.py` with these overrides; returns its metrics.json."""
    words = with_names_of_evaluations(with_own_weights("evaluate", overrides))
    words = with_open_sections(words, COMMANDS["evaluate"].open_sections)
    _run("evaluate", evaluate, run_dir, tuple(words))
    return json.loads((run_dir / "metrics.json").read_text())


def run_pipeline_with(*overrides: str) -> None:
    """`python -m diptych.pipeline` with these overrides, in this process."""
    config = compose_pipeline(*overrides)
    hydra_config = HydraConfig.instance().cfg
    OmegaConf.set_readonly(hydra_config.hydra, False)
    hydra_config.hydra.runtime.output_dir = str(config.work_dir)  # as hydra.run.dir
    run_pipeline(config)


def compose_pipeline(*overrides: str) -> DictConfig:
    """What `python -m diptych.pipeline` with these overrides hands to `run_pipeline`."""
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        words = with_open_sections(with_full_names(overrides), COMMANDS["pipeline"].open_sections)
        config = hydra.compose("pipeline", overrides=words, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])


def _run(name: str, function: Any, run_dir: Path, overrides: tuple[str, ...]) -> None:
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose(name, overrides=list(overrides), return_hydra_config=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(run_dir)
    HydraConfig.instance().set_config(config)
    config = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    function(config)
