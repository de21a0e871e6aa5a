"""Which classes a stranger's config may name where: of each kind of thing those of its room, and one's own."""

from __future__ import annotations

import os
import re
import sys

_OPTIMIZERS = ("torch.optim.", "bitsandbytes.optim.", "diptych.systems.muon.")
_ENCODERS = ("diptych.data.news.embedding_cache.", "diptych.models.sentence_encoder.")
_CLIP = ("diptych.models.backbones.clip.",)
_BACKBONES = (*_CLIP, "diptych.models.backbones.vlm.")
_PREPROCESSING = (*_CLIP, "diptych.models.backbones.vlm_preprocessing.")
_DDP = ("lightning.pytorch.strategies.DDPStrategy", "lightning.pytorch.strategies.ddp.")
# Not the keeper of a run's status, which writes it into the folder that it is told.
_CALLBACKS = (
    *("checkpointing", "early_stopping", "end_on_signal", "progress"),
    *("retrieval_examples", "stop_on_signal", "training_monitor", "validate_every_pass"),
)

# Where a class stands in the config of a run, and how the names of those begin that may stand there. The first that
# fits counts; `*` is one key.
_ROOMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("system", ("diptych.systems.cir.", "diptych.systems.caption_fuser.")),
    ("system.loss", ("diptych.losses.",)),
    ("system.auxiliary_losses.*", ("diptych.losses.",)),
    ("system.noise", ("diptych.systems.triplet_weights.",)),
    ("system.metrics.*", ("diptych.metrics.captions.", "diptych.metrics.retrieval.")),
    ("system.metrics.*.scorer", ("diptych.metrics.captions.clip_scorer.",)),
    ("system.metrics.*.recognizer", ("diptych.text.named_entities.",)),
    ("system.optimizer", _OPTIMIZERS),
    ("system.scheduler", ("diptych.systems.schedules.", "torch.optim.lr_scheduler.")),
    ("system.model", ("diptych.models.composers.", "diptych.models.fuser.qlora_fuser.")),
    ("system.model.backbone", _BACKBONES),
    ("system.model.backbone.preprocessing", _PREPROCESSING),
    ("system.model.backbone.adapter", ("diptych.models.backbones.vlm_adapter.",)),
    ("system.generator", ("diptych.systems.caption_generation.",)),
    ("system.generator.settings", ("diptych.systems.caption_generation.",)),
    ("system.generator.claim_checker", ("diptych.metrics.captions.claim_checker.",)),
    ("system.generator.claim_checker.recognizer", ("diptych.text.named_entities.",)),
    ("system.generator.encoder", _ENCODERS),
    ("system.generator.encoder.encoder", _ENCODERS),
    ("data", ("diptych.data.triplets.cir_datamodule.", "diptych.data.news.news_datamodule.")),
    ("data.preprocessing", _PREPROCESSING),
    ("data.training", ("diptych.data.triplets.from_",)),
    ("data.training.augmentation", ("diptych.data.triplets.augmentation.",)),
    ("data.training.augmentation.augmentations.*", ("diptych.data.triplets.augmentation.",)),
    ("data.evaluation", ("diptych.data.triplets.evaluation_data.",)),
    ("data.images", ("diptych.data.triplets.image_settings.",)),
    ("data.mined", ("diptych.data.triplets.mined_negatives.",)),
    ("data.corruption", ("diptych.data.triplets.corruption.", "diptych.data.news.corruption.")),
    ("data.noun_phrases", ("diptych.text.noun_phrases.",)),
    ("data.sources.*", ("diptych.data.triplets.", "diptych.data.news.", "diptych.synthetic.")),
    ("data.sources.*.source", ("diptych.data.triplets.",)),  # of a list of another set's queries
    ("data.sources.*.settings", ("diptych.synthetic.",)),
    ("data.preparation", ("diptych.data.news.fusion_preparation.",)),
    ("data.preparation.tokenizer", ("diptych.models.fuser.chat_tokenizer.",)),
    ("data.preparation.prompt", ("diptych.data.news.prompt.",)),
    ("data.preparation.selector", ("diptych.data.news.evidence.",)),
    ("data.preparation.selector.published", ("diptych.data.news.published_evidence.",)),
    ("data.preparation.selector.encoder", _ENCODERS),
    ("data.preparation.selector.encoder.encoder", _ENCODERS),
    ("data.preparation.facts", ("diptych.data.news.key_facts.",)),
    ("data.preparation.facts.limits", ("diptych.data.news.key_facts.",)),
    ("data.preparation.length", ("diptych.data.news.caption_lengths.",)),
    ("data.preparation.drafts", ("diptych.data.news.drafts.",)),
    ("trainer", ("lightning.pytorch.Trainer", "lightning.pytorch.trainer.trainer.")),
    ("trainer.strategy", (*_DDP, "diptych.parallel.sharding.", "diptych.parallel.data_parallel.")),
    ("callbacks.*", tuple(f"diptych.callbacks.{name}." for name in _CALLBACKS)),
    ("logger.*", tuple(f"diptych.loggers.{name}_logger." for name in ("mlflow", "tensorboard", "wandb"))),
    ("cluster", ("diptych.sweeping.local_cluster.", "diptych.sweeping.slurm_cluster.")),
)
_PATTERNS = tuple((re.compile(place.replace(".", r"\.").replace("*", r"[^.]+")), rooms) for place, rooms in _ROOMS)
# What parts of a class of the user's own may be, wherever they stand in it.
_PARTS = tuple(dict.fromkeys(("torch.nn.", *(room for _, rooms in _ROOMS for room in rooms))))


def trusted_names() -> list[str]:
    """What the user's environment variable DIPTYCH_TRUST lists: packages, and `env:NAME`."""
    return [name.strip() for name in os.environ.get("DIPTYCH_TRUST", "").split(",") if name.strip()]


def own_packages() -> tuple[str, ...]:
    """How the names of classes begin that the user trusts. Nobody's own package is one of Python's."""
    return tuple(
        f"{name}." for name in trusted_names() if name.partition(".")[0].split(":")[0] not in sys.stdlib_module_names
    )


def rooms_at(path: str, within_own: bool = False) -> tuple[str, ...]:
    """How the names of classes begin that may stand at a path of a stranger's config; none at a path that no config of
    ours has. `within_own`: it is a part of an object of the user's own class.
    """
    rooms = next((rooms for pattern, rooms in _PATTERNS if pattern.fullmatch(path)), ())
    return (*own_packages(), *(_PARTS if within_own else rooms))
