"""Computes what training with a frozen backbone reads instead of pictures: the features of its images and texts.

Shape letters: B batch, L text tokens.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import track

from diptych.contracts.models import Backbone, ImageFeatures, TextFeatures
from diptych.data.triplets.feature_cache import BackboneFeatures, Features, Stamp
from diptych.data.triplets.resident_pictures import Pictures
from diptych.data.triplets.training_data import TrainingInputs
from diptych.data.triplets.triplet_dataset import TripletDataset
from diptych.parallel.loader_workers import QuietLoader

log = logging.getLogger(__name__)

_FORMAT = 1  # raise it when the same settings begin to give other features

Item = TypeVar("Item")


def check_cacheable(backbone: Backbone) -> None:
    """ValueError unless the backbone's features stay as they are during training."""
    if not (backbone.vision_frozen and backbone.text_frozen):
        raise ValueError(
            "data/training=features reads features that do not change: it needs system.model.backbone.freeze=all; "
            "to train the backbone, choose data/training=files"
        )


def prepare_features(
    backbone: Backbone,
    triplets: TripletDataset,
    inputs: TrainingInputs,
    folder: str | Path,
    dtype: str,
    device: torch.device | str,
) -> BackboneFeatures:
    """The features of every image and wording of the triplets, those that are missing computed on `device`.

    They are computed in float32, whatever precision the training has, and stored as `dtype` (a torch name). An
    interrupted call continues where it was. Raises ValueError for a backbone that is not frozen, an image that cannot
    be read, and features that are too large for float16.
    """
    check_cacheable(backbone)
    cache = BackboneFeatures(folder, feature_settings(backbone, inputs, dtype))
    paths, texts = triplets.image_paths(), triplets.texts()
    if cache.missing_images(paths) or cache.missing_texts(texts):
        with cache.writing(), torch.inference_mode():
            images, words = cache.missing_images(paths), cache.missing_texts(texts)
            log.info(
                "features of %d images and %d texts are computed once, in %s", len(images), len(words), cache.folder
            )
            home, training = backbone.device, backbone.training
            backbone.to(device)
            backbone.train(False)
            cache.images.extend(_image_rows(backbone, inputs, images, dtype, device))
            cache.texts.extend(_text_rows(backbone, inputs.evaluation_batch_size, words, dtype, device))
            backbone.to(home)
            backbone.train(training)
    return cache


def feature_settings(backbone: Backbone, inputs: TrainingInputs, dtype: str) -> dict[str, Any]:
    """Everything that decides a feature except the picture or text itself."""
    others = {} if backbone.image_tokens == "patches" else {"image_tokens": backbone.image_tokens}
    tokenizer = getattr(backbone.preprocessing, "tokenizer", "open_clip")  # a preprocessing with one has no name for it
    if tokenizer != "open_clip":
        others["tokenizer"] = tokenizer
    return {
        **others,  # nothing where nothing else could be chosen once, so that caches of that time are still found
        "format": _FORMAT,
        "backbone": backbone.name,
        "weights": _digest(backbone),
        "image": asdict(backbone.preprocessing.image),
        "decoder": inputs.reader.decoder,
        "padded_texts": _pads(backbone),
        "dtype": dtype,
    }


def _digest(backbone: Backbone) -> str:
    """SHA-256 of the modules (the same weights give other features with another activation) and the weights."""
    parts = [(name, type(part).__name__, getattr(part, "num_heads", None)) for name, part in backbone.named_modules()]
    digest = hashlib.sha256(repr(parts).encode())
    for name, weight in sorted(backbone.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _pads(backbone: Backbone) -> bool:
    """Whether a text is padded even when it is alone: then its pads belong to its features."""
    return not bool(backbone.preprocessing.tokenize([""]).mask.all())


def _image_rows(
    backbone: Backbone, inputs: TrainingInputs, images: Mapping[str, Stamp], dtype: str, device: torch.device | str
) -> Iterator[tuple[str, Stamp, ImageFeatures]]:
    names, size = list(images), inputs.evaluation_batch_size
    pixels = QuietLoader(
        Pictures(names, inputs.reader),
        batch_size=size,
        num_workers=inputs.num_workers,
        batch_bytes=size * 3 * backbone.preprocessing.image.size**2,
    )
    for number, batch in enumerate(_progress(pixels, "features of images", len(pixels))):
        features = _stored(backbone.encode_image(batch.to(device)), dtype)
        for row, name in enumerate(names[number * size : number * size + len(batch)]):
            yield name, images[name], ImageFeatures(*(getattr(features, item.name)[row] for item in fields(features)))


def _text_rows(
    backbone: Backbone, size: int, texts: Mapping[str, Stamp], dtype: str, device: torch.device | str
) -> Iterator[tuple[str, Stamp, TextFeatures]]:
    names, keep_pads = list(texts), _pads(backbone)
    num_truncated = 0
    starts = range(0, len(names), size)
    for start in _progress(starts, "features of texts", len(starts)):
        batch = names[start : start + size]
        tokens = backbone.preprocessing.tokenize(batch)
        num_truncated += tokens.num_truncated
        features = _stored(backbone.encode_text(tokens.to(device)), dtype)
        for row, name in enumerate(batch):
            mask = features.mask[row]
            length = len(mask) if keep_pads else int(mask.sum())
            yield name, texts[name], TextFeatures(features.tokens[row, :length], mask[:length], features.embedding[row])
    if num_truncated:
        log.warning("%d of %d texts are longer than the backbone's context and were cut", num_truncated, len(names))


def _stored(features: Features, dtype: str) -> Features:
    """The features on the CPU in the stored precision."""
    values = {}
    for item in fields(features):
        value = getattr(features, item.name).cpu()
        values[item.name] = value if value.dtype == torch.bool else value.to(getattr(torch, dtype))
        if not torch.isfinite(values[item.name]).all():
            raise ValueError(
                f"the backbone's {item.name} do not fit into {dtype}; set data.training.feature_dtype=float32"
            )
    return type(features)(**values)


def _progress(items: Iterable[Item], title: str, total: int) -> Iterable[Item]:
    return track(items, title, total, console=Console(stderr=True), disable=not total)
