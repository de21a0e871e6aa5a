"""Configs that earlier versions left, in checkpoints and run folders, as this version reads them."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.plain_config import leaves, plain_section
from diptych.storage.moved_names import with_moved_names

_TRIPLETS = "diptych.data.triplets"
_DATAMODULE = f"{_TRIPLETS}.cir_datamodule.CIRDataModule"

# Before `data.training` there was, the settings of all ways of reading stood side by side: where each is since.
_IN_IMAGES = {"image_cache": "cache", "decoder": "decoder", "on_missing": "on_missing"}
_IN_EVALUATION = {"evaluation_batch_size": "batch_size", "validation_split": "validation_split"}
_IN_TRAINING = {
    "files": ("batch_size", "caption_policy", "group_size", "weights", "augmentation", "seed"),
    "features": ("feature_cache", "feature_dtype", "batch_size", "caption_policy", "group_size", "weights", "seed"),
    "shards": (
        *("shards", "shard_streams", "shuffle_block"),
        *("batch_size", "caption_policy", "group_size", "augmentation", "seed"),
    ),
}
_CLASSES = {
    "files": "from_files.FromFiles",
    "features": "from_features.FromFeatures",
    "shards": "from_shards.FromShards",
}
_GENERATOR = "diptych.systems.caption_generation.CaptionGenerator"
_CLAIM_CHECKER = "diptych.metrics.captions.claim_checker.EntityClaimChecker"
_RECOGNIZER = {"_target_": "diptych.text.named_entities.EntityRecognizer", "model": "en_core_web_sm"}
_FUSER = "diptych.models.fuser.qlora_fuser.QLoRAFuser"
_WEIGHTS = ("diptych.models.backbones.clip.CLIPBackbone", "diptych.metrics.captions.clip_scorer.ClipScorer")
_MOVED = {"with_distractors", *_IN_IMAGES, *_IN_EVALUATION}.union(*_IN_TRAINING.values())
_GONE = {
    "data.with_distractors": "the loss says whether they are loaded: system.loss.distractor_negatives=true",
    "data.test_split": "evaluate.py is given the split: split=test",
    "system.model.gradient_checkpointing": "system.model.recompute=auto is true, system.model.recompute=0 is false",
}


def upgraded(config: DictConfig) -> DictConfig:
    """A config of any earlier version as this version would have composed it, unresolved; a present one is returned
    as it is.
    """
    plain = with_moved_names(plain_section(config, resolve=False))
    data = plain.get("data")
    if isinstance(data, dict):
        data.pop("test_split", None)
        if data.get("_target_") == _DATAMODULE and "training" not in data and _MOVED & data.keys():
            plain["data"] = _in_parts(data)
    for _, node in leaves(plain.get("system")):
        if isinstance(node, dict) and node.get("_target_") in _WEIGHTS:
            _with_facts_of_a_file(node)
    model = (plain.get("system") or {}).get("model")
    if isinstance(model, dict) and model.get("_target_") == _FUSER and "gradient_checkpointing" in model:
        model["recompute"] = "auto" if model.pop("gradient_checkpointing") else 0
    generator = (plain.get("system") or {}).get("generator")
    if isinstance(generator, dict) and generator.get("_target_") == _GENERATOR and "claim_checker" not in generator:
        generator |= _parts_of_choice(plain["system"], generator.get("encoder"))
    return OmegaConf.create(plain)


def _with_facts_of_a_file(node: dict[str, Any]) -> None:
    """Puts into the settings of a CLIP what earlier versions took for granted of every file of weights."""
    name, pretrained, architecture = (node.get(key) for key in ("name", "pretrained", "architecture"))
    if pretrained is None or node.get("activation") is not None or "${" in f"{name}{pretrained}{architecture}":
        return
    from diptych.models.backbones.clip_facts import ACTIVATION, facts_before, is_described, is_tag

    if is_tag(str(name), str(pretrained)) or is_described(str(name)):
        return
    facts = facts_before(str(name), architecture)
    node[ACTIVATION] = facts.pop(ACTIVATION)
    pictures = node.get("preprocessing", node)  # a scorer has them itself
    if isinstance(pictures, dict) and (
        "${" in str(pictures.get("pretrained")) or pictures.get("pretrained") == pretrained
    ):
        pictures |= {fact: value for fact, value in facts.items() if pictures.get(fact) is None}


def _parts_of_choice(system: dict[str, Any], encoder: Any) -> dict[str, Any]:
    """What the choice among candidates may ask, which captioners of earlier versions did not name: the encoder of their
    evidence, and the recogniser of their metrics.
    """
    metrics = (system.get("metrics") or {}).values()
    recognizer = next((metric["recognizer"] for metric in metrics if "recognizer" in metric), _RECOGNIZER)
    return {
        "encoder": encoder or "${oc.select:data.preparation.selector.encoder,null}",
        "claim_checker": {"_target_": _CLAIM_CHECKER, "recognizer": dict(recognizer)},
    }


def _in_parts(data: dict[str, Any]) -> dict[str, Any]:
    """A data section whose settings stand side by side, in the parts `training`, `evaluation` and `images`."""
    way = "shards" if data.get("shards") else "features" if data.get("feature_cache") else "files"
    training = {name: data[name] for name in _IN_TRAINING[way] if name in data}
    evaluation = {new: data[old] for old, new in _IN_EVALUATION.items() if old in data}
    images = {new: data[old] for old, new in _IN_IMAGES.items() if old in data}
    return {
        **{name: value for name, value in data.items() if name not in _MOVED},
        "training": {"_target_": f"{_TRIPLETS}.{_CLASSES[way]}", **training},
        "evaluation": {"_target_": f"{_TRIPLETS}.evaluation_data.EvaluationSettings", **evaluation},
        "images": {"_target_": f"{_TRIPLETS}.image_settings.ImageSettings", **images},
    }


def advice_on(key: str) -> str:
    """A sentence on a setting that an earlier version had elsewhere, or that only another way of reading has; empty for
    any other key.
    """
    section, _, name = key.partition(".")
    if key in _GONE:
        return f" It is gone: {_GONE[key]}"
    for part, names in (("images", _IN_IMAGES), ("evaluation", _IN_EVALUATION)):
        if section == "data" and name in names:
            return f" It is data.{part}.{names[name]} now"
    ways = [way for way, names in _IN_TRAINING.items() if name.removeprefix("training.") in names]
    if section != "data" or not ways:
        return ""
    if name.startswith("training."):
        return f" Only data/training={' and '.join(ways)} has it; '~{key}' takes it out"
    only = f", with data/training={ways[0]}" if len(ways) == 1 else ""
    return f" It is data.training.{name} now{only}"
