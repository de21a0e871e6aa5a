"""Tiny data in the published layouts, and runs of the entry points inside this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from PIL import Image

from diptych.commands.evaluation import evaluate
from diptych.commands.pipeline import run_pipeline
from diptych.commands.training import train
from diptych.config import folder, resolvers
from diptych.config.short_names import with_full_names
from diptych.synthetic.newsroom.generate import NewsroomSettings, generate_newsroom
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms

ROOT = Path(__file__).resolve().parents[1]
TINY = RoomsSettings(num_train_hotels=6, num_val_hotels=28, num_test_hotels=28)
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


TINY_NEWS = NewsroomSettings(num_train_families=2, num_val_families=1, num_test_families=1)
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
    "system.model.gradient_checkpointing=false",
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


def make_data(folder: Path) -> Path:
    """`folder/rooms`, `folder/hotel_cir` (the same pictures), `folder/cirr` with rewritten captions, `folder/newsroom`
    and `folder/openevents` (the same again, as published).
    """
    generate_rooms(folder / "rooms", TINY, num_workers=1)
    generate_newsroom(folder / "newsroom", TINY_NEWS, num_workers=1)
    _make_openevents(folder / "openevents", folder / "newsroom")
    (folder / "hotel_cir").symlink_to(folder / "rooms", target_is_directory=True)
    _make_cirr(folder / "cirr")
    return folder


def _make_cirr(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, prefix, pixels, count in (
        ("train", "train", "train/0", 24),
        ("val", "dev", "dev", 60),
        ("test1", "test1", "test1", 60),
    ):
        names = [f"{prefix}-{number}-0-img{number % 2}" for number in range(count)]
        for name in names:
            path = root / "img_raw" / pixels / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((40, 32), 0).save(path)
        _write(root / f"image_splits/split.rc2.{split}.json", {name: f"./{pixels}/{name}.png" for name in names})
        records = [_cirr_record(names, number, split == "test1") for number in range(12)]
        _write(root / f"captions/cap.rc2.{split}.json", records)
        if split != "test1":
            rewritten = [
                {
                    "query_image_url": f"https://x.org/{r['reference']}.png",
                    "retrieved_image_url": f"https://x.org/{r['target_hard']}.png",
                    "difference_captions": [f"{r['caption']}.", "Keep the rest."],
                }
                for r in records
            ]
            _write(root / f"rewritten_captions/rewritten_{split}.json", rewritten)


def _cirr_record(names: list[str], number: int, hidden: bool) -> dict[str, Any]:
    members = names[number // 6 * 6 : number // 6 * 6 + 6]
    reference = members[number % 6]
    record = {
        "pairid": 100 + number,
        "reference": reference,
        "target_hard": members[(number + 1) % 6],
        "target_soft": {members[(number + 1) % 6]: 1.0},
        "caption": f"make it like number {number}",
        "img_set": {"id": number // 6, "members": members, "reference_rank": 1, "target_rank": 2},
    }
    if hidden:
        del record["target_hard"], record["target_soft"], record["img_set"]["target_rank"]
    return record


def _make_openevents(root: Path, newsroom: Path) -> None:
    shutil.copytree(newsroom, root)
    rows = (newsroom / "base_captions.csv").read_text()
    for split in ("train", "val", "test"):
        (root / "base_captions").mkdir(exist_ok=True)
        (root / "base_captions" / f"{split}.csv").write_text(rows)
    # No split for validation is published: it is kept back from the training rows.
    shutil.copy(root / "retrieval/train.json", root / "retrieval/val.json")


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def run_train(run_dir: Path, *overrides: str) -> None:
    """`python train.py` with these overrides, in `run_dir`, in this process."""
    _run("train", train, run_dir, overrides)


def run_evaluate(run_dir: Path, *overrides: str) -> dict[str, Any]:
    """`python evaluate.py` with these overrides; returns its metrics.json."""
    _run("evaluate", evaluate, run_dir, overrides)
    return json.loads((run_dir / "metrics.json").read_text())


def run_pipeline_with(*overrides: str) -> None:
    """`python -m diptych.pipeline` with these overrides, in this process."""
    run_pipeline(compose_pipeline(*overrides))


def compose_pipeline(*overrides: str) -> DictConfig:
    """What `python -m diptych.pipeline` with these overrides hands to `run_pipeline`."""
    resolvers.register_resolvers()
    with hydra.initialize_config_dir(str(folder.CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("pipeline", overrides=with_full_names(overrides), return_hydra_config=True)
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
