"""What no tensor tells of CLIP weights: the activation they were trained with, and how their pictures were prepared.

The one place for it. open_clip's registry knows it of its tags; of a file somebody must say it, since a wrong guess
gives worse embeddings and no error.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg

from diptych.storage.json_files import read_json

log = logging.getLogger(__name__)

ACTIVATION = "activation"
IMAGE = ("mean", "std", "interpolation", "resize")
_CHOICES = {
    ACTIVATION: ("quick_gelu", "gelu"),
    "interpolation": ("bicubic", "bilinear"),
    "resize": ("shortest", "squash"),
}
_CONFIG, _OF_MODEL, _OF_PICTURES = "open_clip_config.json", "config.json", "preprocessor_config.json"
_OF_PROCESSOR = "processor_config.json"  # since transformers 5, in the place of the one before
_IN_REGISTRY = {"resize": "resize_mode"}
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, by which transformers' files name them
# What must be the same in a model and in the description beside its weights: open_clip would stretch positions to fit.
_OF_ONE_MODEL = {
    "vision_cfg": ("image_size", "patch_size"),
    "text_cfg": ("context_length", "hf_tokenizer_name", "tokenizer_kwargs", "no_causal_mask"),
}


def is_tag(name: str, pretrained: str) -> bool:
    """Whether it is a tag of open_clip's registry for the model; anything else is a file."""
    return bool(get_pretrained_cfg(name, pretrained))


def clip_facts(
    name: str,
    pretrained: str | None,
    architecture: Mapping[str, Any] | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """The facts that are the keys of `given`, whose values stand where they are not None.

    Of a tag they are the registry's; of a new model, without weights, its configuration's and open_clip's defaults. Of
    a file they are those of the description beside it (open_clip_config.json; else config.json and
    preprocessor_config.json, transformers'), else what all weights that the registry has of `name` agree on.

    Raises:
        ValueError: a fact is not known, or a value is none; the description is damaged, or of another model.
    """
    for fact, value in given.items():
        if value is not None and not _is_fact(fact, value):
            expected = f"one of {', '.join(_CHOICES[fact])}" if fact in _CHOICES else "three numbers, [R,G,B]"
            raise ValueError(f"{fact}={value!r:.80} is not {expected}")
    facts = {fact: _plain(value) for fact, value in given.items()}
    open_ones = [fact for fact, value in facts.items() if value is None]
    config = architecture or open_clip.get_model_config(name) or {}
    if not open_ones:
        return facts
    if pretrained is None or is_tag(name, pretrained):
        known = _of_registry(get_pretrained_cfg(name, pretrained or ""), config)
    else:
        known = _of_file(name, Path(pretrained), config, own_architecture=architecture is not None)
        absent = [fact for fact in open_ones if known.get(fact) is None]
        if absent:
            raise _unknown(name, pretrained, absent)
        log.info("%s: %s", pretrained, ", ".join(f"{fact} {known[fact]}" for fact in open_ones))
    return facts | {fact: known[fact] for fact in open_ones}


def facts_before(name: str, architecture: Mapping[str, Any] | None) -> dict[str, Any]:
    """What versions took for the facts of a file that asked nobody."""
    return _of_registry(None, architecture or open_clip.get_model_config(name) or {})


def settled(settings: Mapping[str, Any], facts: Iterable[str]) -> dict[str, Any]:
    """The facts of a file of weights as the settings that a config keeps, so that nobody has to ask again; none where
    the registry knows them. ValueError as `clip_facts`.
    """
    name, pretrained = str(settings["name"]), settings.get("pretrained")
    if pretrained is None or is_tag(name, pretrained) or is_described(name):
        return {}
    given = {fact: settings.get(fact) for fact in facts}
    found = clip_facts(name, pretrained, settings.get("architecture"), given)
    return {fact: list(value) if isinstance(value, tuple) else value for fact, value in found.items()}


def is_described(name: str) -> bool:
    """Whether the name is a folder's or a hub's (`local-dir:FOLDER`), which open_clip reads with its description."""
    return ":" in name


def _of_registry(tag: Mapping[str, Any] | None, config: Mapping[str, Any]) -> dict[str, Any]:
    defaults, tag = PreprocessCfg(), tag or {}
    image = {fact: tag.get(key, getattr(defaults, key)) for fact, key in ((f, _IN_REGISTRY.get(f, f)) for f in IMAGE)}
    quick = config.get("quick_gelu") or tag.get("quick_gelu")
    return {ACTIVATION: "quick_gelu" if quick else "gelu", **{fact: _plain(value) for fact, value in image.items()}}


def _of_file(name: str, path: Path, config: Mapping[str, Any], own_architecture: bool) -> dict[str, Any]:
    """What is known; the description beside the file counts most."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    of_tags = [_of_registry(get_pretrained_cfg(name, tag), config) for tag in tags]
    known: dict[str, Any] = {}
    for fact in (ACTIVATION, *IMAGE):
        values = {one[fact] for one in of_tags}
        known[fact] = values.pop() if len(values) == 1 and not own_architecture else None
    if config.get("quick_gelu") or own_architecture:  # it has been said, if only by open_clip's default
        known[ACTIVATION] = "quick_gelu" if config.get("quick_gelu") else "gelu"
    beside = _open_clip_description(path, config) or _transformers_description(path, config)
    return known | {fact: value for fact, value in beside.items() if value is not None}


def _open_clip_description(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    place = path.parent / _CONFIG
    content = _object(place)
    model, pictures = (_section(content, key, place) for key in ("model_cfg", "preprocess_cfg"))
    if not content:
        return {}
    for part, keys in _OF_ONE_MODEL.items():
        there, here = _section(model, part, place), config.get(part) or {}
        for key in keys:
            ours = here.get(key, _DEFAULTS.get(key))
            if there.get(key, ours) != ours:
                raise ValueError(
                    f"{place}: {part}.{key} is {there[key]!r:.80} there, and {ours!r:.80} in the model that is to be"
                    " built: choose a model of the same sizes and texts"
                )
    defaults = PreprocessCfg()  # which open_clip takes for what such a file leaves out
    facts = {
        "mean": pictures.get("mean"),
        "std": pictures.get("std"),
        "interpolation": pictures.get("interpolation", defaults.interpolation) if pictures else None,
        "resize": pictures.get("resize_mode", defaults.resize_mode) if pictures else None,
        ACTIVATION: ("quick_gelu" if model.get("quick_gelu") else "gelu") if model else None,
    }
    return _checked(facts, place)


def _transformers_description(path: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    place, of_pictures = path.parent / _OF_MODEL, path.parent / _OF_PICTURES
    pictures, model = _object(of_pictures), _object(place)
    if not pictures:
        of_pictures = path.parent / _OF_PROCESSOR
        pictures = _section(_object(of_pictures), "image_processor", of_pictures)
    towers = [_section(model, part, place) for part in ("vision_config", "text_config")]
    is_clip = model.get("model_type") == "clip"
    activations = {tower.get("hidden_act", "quick_gelu") for tower in towers} if is_clip else set()  # as CLIPConfig's
    side = (config.get("vision_cfg") or {}).get("image_size", _DEFAULTS["image_size"])
    if is_clip and towers[0].get("image_size", side) != side:
        raise ValueError(
            f"{place}: its pictures have {towers[0]['image_size']!r:.80} pixels a side, and {side!r:.80} in the model"
            " that is to be built: choose a model of the same sizes"
        )
    if is_clip:
        _check_heads(towers, config, place)
    normal = pictures.get("do_normalize", True) is not False
    facts = {
        ACTIVATION: activations.pop() if len(activations) == 1 else None,
        "mean": pictures.get("image_mean") if normal else (0.0, 0.0, 0.0),
        "std": pictures.get("image_std") if normal else (1.0, 1.0, 1.0),
        "interpolation": _INTERPOLATIONS.get(pictures.get("resample", -1)),
        "resize": _transformers_resize(pictures, side, of_pictures),
    }
    return _checked(facts, path.parent)


def _check_heads(towers: Sequence[Mapping[str, Any]], config: Mapping[str, Any], place: Path) -> None:
    """ValueError unless both towers have as many heads as the model that is to be built: no tensor tells."""
    vision, text = (config.get(part) or {} for part in ("vision_cfg", "text_cfg"))
    ours = {
        "vision_config": vision.get("width", 768) // vision.get("head_width", 64),
        "text_config": text.get("heads", 8),
    }
    for tower, (name, number) in zip(towers, ours.items(), strict=True):
        if tower.get("num_attention_heads", number) != number:
            raise ValueError(
                f"{place}: its {name} has {tower['num_attention_heads']!r:.80} heads, and {number} the model that is to"
                " be built: choose a model of the same sizes"
            )


def _transformers_resize(pictures: Mapping[str, Any], side: Any, place: Path) -> str | None:
    """How pictures become squares; None where it is not said.

    Raises:
        ValueError: they become none of `side` pixels, or not by the means that there are here.
    """
    size, crop = pictures.get("size", side), pictures.get("do_center_crop")
    cropped = pictures.get("crop_size", side) if crop else side
    numbers = [number for one in (size, cropped) for number in (one.values() if isinstance(one, dict) else [one])]
    factor = pictures.get("rescale_factor", 1 / 255)
    usual = pictures.get("do_resize", True) and pictures.get("do_rescale", True)
    if not usual or factor is None or not isinstance(factor, int | float) or abs(factor * 255 - 1) > 0.01:
        raise ValueError(
            f"{place}: pictures are not resized, or their pixels not divided by 255 (do_resize, do_rescale,"
            " rescale_factor), which every CLIP here does: take the file of these weights"
        )
    if any(number != side for number in numbers):
        raise ValueError(
            f"{place}: size {size!r:.80}, crop_size {pictures.get('crop_size')!r:.80}, but the model that is to be"
            f" built reads {side!r:.80} pixels a side: choose a model of the same size, or take these weights' file"
        )
    if pictures and ("height" in size if isinstance(size, dict) else crop is False):
        return "squash"
    return "shortest" if crop else None


_DEFAULTS = {"image_size": 224, "patch_size": 16, "context_length": 77, "no_causal_mask": False}


def _object(path: Path) -> dict[str, Any]:
    content = read_json(path, missing_ok=True)
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object that describes a model")
    return content or {}


def _section(content: Mapping[str, Any], key: str, path: Path) -> dict[str, Any]:
    found = content.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: {key!r} must be an object")
    return found


def _checked(facts: dict[str, Any], path: Path) -> dict[str, Any]:
    for fact, value in facts.items():
        if value is not None and not _is_fact(fact, value):
            raise ValueError(f"{path}: {fact} {value!r:.80} is none that this version knows")
    return {fact: _plain(value) for fact, value in facts.items()}


def _is_fact(fact: str, value: Any) -> bool:
    if fact in _CHOICES:
        return value in _CHOICES[fact]
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        return False
    least = 0.0 if fact == "mean" else 1e-6
    return all(isinstance(x, (int, float)) and not isinstance(x, bool) and least <= x <= 1 for x in value)


def _plain(value: Any) -> Any:
    return tuple(map(float, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _unknown(name: str, pretrained: str, absent: Sequence[str]) -> ValueError:
    tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
    if not Path(pretrained).is_file() and len(Path(pretrained).parts) == 1 and not Path(pretrained).suffix:
        return ValueError(f"pretrained={pretrained!r} is neither a file nor a tag of {name} ({tags})")
    examples = {ACTIVATION: "quick_gelu, as OpenAI's have, or gelu", "mean": "[R,G,B]", "std": "[R,G,B]"}
    wanted = ", ".join(f"{fact}={examples.get(fact) or ' or '.join(_CHOICES[fact])}" for fact in absent)
    return ValueError(
        f"pretrained={pretrained!r} is a file of weights, and nothing says what no tensor tells: set {wanted}; or put"
        f" the {_CONFIG} of these weights beside it (or transformers' {_OF_MODEL} and {_OF_PICTURES}); or choose a name"
        f" whose weights are all alike, such as ViT-B-32-quickgelu. The registry has of {name}: {tags}"
    )
