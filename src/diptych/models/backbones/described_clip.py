"""The settings of a backbone that a folder of weights describes: open_clip's description, or transformers'.

Read before torch is imported; whether the weights keep to it is seen when they are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diptych.storage.json_files import read_json
from diptych.storage.weights_files import OPEN_CLIP, TRANSFORMERS, description, tensor_shapes

# What CLIPConfig has where a file says nothing, transformers.models.clip.configuration_clip.
_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_TEXT = {
    "vocab_size": 49408,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
_OF_ONE_KIND = {"num_channels": 3, "vocab_size": 49408, "layer_norm_eps": 1e-5}  # all that is built here
_ACTIVATIONS = ("quick_gelu", "gelu")


def clip_settings(weights: Path) -> dict[str, Any]:
    """What the description beside a file of CLIP weights says of the backbone that it is for, by key of its section:
    `name`, and `architecture` where open_clip's list has no such model; of transformers' also whose rules make tokens.
    Empty where no description lies there.

    Raises:
        ValueError: it is damaged, or of a model that cannot be built here; names the file and what to do.
    """
    if (weights.parent / OPEN_CLIP).is_file():
        return _of_open_clip(weights.parent)
    if (weights.parent / TRANSFORMERS).is_file():
        return _of_transformers(weights.parent / TRANSFORMERS, weights.parent.absolute().name)
    return {}


def likely_names(weights: Path) -> list[str]:
    """Names of open_clip's list whose sizes are those of the tensors in a .safetensors file, of open_clip's names or
    transformers'. Empty for other files.
    """
    shapes = tensor_shapes(weights)
    found = tuple(next((shapes[name] for name in names if shapes.get(name)), None) for names in _TELLING)
    likely = [name for name, config in _registered().items() if found == _shapes(config)]
    return sorted(likely, key=lambda name: (len(name), name))


_TELLING = (  # of patches, positions and words: names in open_clip's two kinds of models, and in transformers'
    ("visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("token_embedding.weight", "text.token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
)


def _shapes(config: Mapping[str, Any]) -> tuple[tuple[int, ...], ...] | None:
    """The shapes of the telling tensors in a model of open_clip's list; None where its towers are other libraries'."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    if "multimodal_cfg" in config or "timm_model_name" in vision or "hf_model_name" in text:
        return None
    width, patch, side = vision.get("width", 768), vision.get("patch_size", 16), vision.get("image_size", 224)
    if not all(isinstance(size, int) for size in (vision.get("layers", 12), patch, side)):  # ResNets
        return None
    positions = (side // patch) ** 2 + 1
    return (width, 3, patch, patch), (positions, width), (text.get("vocab_size", 49408), text.get("width", 512))


def _of_open_clip(folder: Path) -> dict[str, Any]:
    model = description(folder / OPEN_CLIP).get("model_cfg")
    if not isinstance(model, dict):
        raise ValueError(f"{folder / OPEN_CLIP}: it describes no model (model_cfg); take the weights' own file")
    known = next((name for name, config in _registered().items() if config == model), None)
    return {"name": known} if known else {"name": _plain(folder.absolute().name), "architecture": model}


def _of_transformers(path: Path, name: str) -> dict[str, Any]:
    content = description(path)
    if content.get("model_type") != "clip":
        raise ValueError(f"{path}: a model of the type {content.get('model_type')!r:.80}, not clip")
    vision = _section(content, "vision_config", _VISION, path)
    text = _section(content, "text_config", _TEXT, path)
    if vision["hidden_act"] != text["hidden_act"] or vision["hidden_act"] not in _ACTIVATIONS:
        raise ValueError(
            f"{path}: hidden_act is {vision['hidden_act']!r:.80} of pictures and {text['hidden_act']!r:.80} of texts;"
            f" built here is {' or '.join(_ACTIVATIONS)}, of both"
        )
    for part in (vision, text):
        for key, value in _OF_ONE_KIND.items():
            if part.get(key, value) != value:
                raise ValueError(f"{path}: {key} is {part[key]!r:.80}; built here is {value} alone")
        if part["hidden_size"] % part["num_attention_heads"]:
            raise ValueError(f"{path}: {part['num_attention_heads']} heads do not divide {part['hidden_size']}")
    architecture = {
        "embed_dim": _number(content.get("projection_dim", 512), "projection_dim", path),
        "quick_gelu": vision["hidden_act"] == "quick_gelu",
        "vision_cfg": {
            "image_size": vision["image_size"],
            "patch_size": vision["patch_size"],
            "width": vision["hidden_size"],
            "layers": vision["num_hidden_layers"],
            "head_width": vision["hidden_size"] // vision["num_attention_heads"],
            "mlp_ratio": vision["intermediate_size"] / vision["hidden_size"],
        },
        "text_cfg": {
            "context_length": text["max_position_embeddings"],
            "vocab_size": text["vocab_size"],
            "width": text["hidden_size"],
            "heads": text["num_attention_heads"],
            "layers": text["num_hidden_layers"],
            "mlp_ratio": text["intermediate_size"] / text["hidden_size"],
        },
    }
    return {"name": _plain(name), "architecture": architecture, "preprocessing.tokenizer": "transformers"}


def _section(content: Mapping[str, Any], key: str, defaults: Mapping[str, Any], path: Path) -> dict[str, Any]:
    found = content.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{path}: {key!r} must be an object")
    values = {name: found.get(name, default) for name, default in defaults.items()}
    for name, default in defaults.items():
        if isinstance(default, int):
            _number(values[name], f"{key}.{name}", path)
    return values


def _number(value: Any, key: str, path: Path) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{path}: {key} must be a whole number of at least 1, not {value!r:.80}")
    return value


def _plain(name: str) -> str:
    """A folder's name as a model's, which is neither a path nor a schema."""
    return "".join(sign if sign.isalnum() or sign in "_.-" else "_" for sign in name) or "clip"


def _registered() -> dict[str, dict[str, Any]]:
    """open_clip's own list, read from its files: the library itself imports torch."""
    spec = find_spec("open_clip")
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = sorted(file for place in places for file in Path(place, "model_configs").glob("*.json"))
    return {file.stem: read_json(file) for file in files}
