"""CLIP as the CLIPScore metrics ask it (Hessel et al., EMNLP 2021): one model and one set of features for all of them.

Shape letters: N texts or photos, E embedding width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import open_clip
import torch
from open_clip import CLIP, CustomTextCLIP
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from torch import Tensor

from diptych.contracts.news import CaptionItem
from diptych.models.backbones.clip_facts import ACTIVATION, IMAGE, clip_facts, is_described, settled
from diptych.models.plain_text import plain_open_clip
from diptych.photos.photo_file import read_photo

PREFIX = "A photo depicts "
SCALE = 2.5
_DECODERS = 8


@dataclass(frozen=True)
class ClipScorer:
    """Settings of a CLIP model. Scorers of equal settings share, in one process, the model and the features it gave.

    `name` and `pretrained` are open_clip's model name and weights tag, or a file of weights: its `activation` and image
    settings (`mean` and the rest) are known as `clip_facts` says, unless they are given. A model of your own is
    `name="local-dir:FOLDER"` (open_clip_config.json and weights in FOLDER) with `pretrained=None`. Weights are loaded
    when first needed, on the GPU if there is one, in single precision. The default is what CLIPScore was published on.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "registry"}  # see config/model_names.py

    name: str = "ViT-B-32"
    pretrained: str | None = "openai"
    batch_size: int = 64
    activation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str | None = None
    resize: str | None = None

    def __post_init__(self) -> None:
        for fact in ("mean", "std"):  # lists in configs, but equal scorers are to be found by their settings
            value = getattr(self, fact)
            object.__setattr__(self, fact, None if value is None else tuple(value))

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that a config is to keep of a file of weights, as `clip_facts.settled` has them."""
        return settled({"name": cls.name, "pretrained": cls.pretrained, **settings}, [ACTIVATION, *IMAGE])

    def describe(self) -> str:
        """The model in words."""
        return " ".join(filter(None, (self.name, self.pretrained, self.activation)))

    def image_features(self, items: Sequence[CaptionItem]) -> np.ndarray:
        """L2-normalised embeddings (N, E) of the items' upright photos: short side resized, centre cropped, bicubic.

        Raises:
            ValueError: a photo cannot be read, or the model not be loaded; names the item or the setting.
        """
        return _loaded(self).image_features(items)

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised embeddings (N, E) of `PREFIX` and text; too long a text loses its end, never the end token.

        Raises:
            ValueError: the model cannot be loaded.
        """
        return _loaded(self).text_features(texts)

    def fits(self, text: str) -> bool:
        """Whether `PREFIX` and the text are read whole."""
        return _loaded(self).fits(text)


def clip_scores(image_features: np.ndarray, text_features: np.ndarray) -> np.ndarray:
    """CLIPScore (N,) of pairs of normalised embeddings (N, E): 2.5 times the cosine, not below 0."""
    scores: np.ndarray = SCALE * np.maximum((image_features * text_features).sum(1), 0)
    return scores


class _LoadedClip:
    """The model, and all features that it gave so far: photos by file and time of change, texts by themselves."""

    def __init__(self, scorer: ClipScorer) -> None:
        self.batch_size = scorer.batch_size
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.transform, self.tokenizer = _load(scorer)
        self.model = self.model.eval().to(self.device)
        self._images: dict[tuple[str, int, int], np.ndarray] = {}
        self._texts: dict[str, np.ndarray] = {}

    def image_features(self, items: Sequence[CaptionItem]) -> np.ndarray:
        keys = [_file_key(item) for item in items]
        new = {key: item for key, item in zip(keys, items, strict=True) if key not in self._images}
        with ThreadPoolExecutor(_DECODERS) as pool:
            for batch in _batches(list(new), self.batch_size):
                pixels = list(pool.map(lambda key: self.transform(_photo(new[key])), batch))
                self._images.update(zip(batch, self._run(self.model.encode_image, torch.stack(pixels)), strict=True))
        return np.stack([self._images[key] for key in keys])

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in self._texts))
        for batch in _batches(new, self.batch_size):
            ids = self.tokenizer([PREFIX + text for text in batch])
            self._texts.update(zip(batch, self._run(self.model.encode_text, ids), strict=True))
        return np.stack([self._texts[text] for text in texts])

    def fits(self, text: str) -> bool:
        limit: int = self.tokenizer.context_length
        return len(self.tokenizer.encode(PREFIX + text)) + 2 <= limit

    @torch.inference_mode()
    def _run(self, encode: Callable[..., Tensor], batch: Tensor) -> np.ndarray:
        features: np.ndarray = encode(batch.to(self.device), normalize=True).float().cpu().numpy()
        return features


@functools.lru_cache(maxsize=1)
def _loaded(scorer: ClipScorer) -> _LoadedClip:
    return _LoadedClip(scorer)


def _load(scorer: ClipScorer) -> tuple[CLIP | CustomTextCLIP, Callable[[Image.Image], Tensor], Any]:
    try:
        _check_parts(open_clip.get_model_config(scorer.name) or {})
        model, transform = open_clip.create_model_from_pretrained(scorer.name, scorer.pretrained, **_facts(scorer))
        tokenizer = open_clip.get_tokenizer(scorer.name)
    # A hub without network, a folder without weights and a file of another model each raise their own kinds.
    except Exception as error:
        raise ValueError(
            f"the CLIP model {scorer.describe()} cannot be loaded: {error}; its name and pretrained must be "
            "a model and a tag of open_clip, or name=local-dir:FOLDER with pretrained=null"
        ) from error
    if not isinstance(tokenizer, SimpleTokenizer):
        raise ValueError(f"name={scorer.name!r} does not use CLIP's tokenizer; CLIPScore is defined on CLIP")
    return model, transform, plain_open_clip(tokenizer)


def _facts(scorer: ClipScorer) -> dict[str, Any]:
    """What open_clip is told of weights that it would not know about by itself."""
    if is_described(scorer.name):
        return {}
    given = {fact: getattr(scorer, fact) for fact in (ACTIVATION, *IMAGE)}
    facts = clip_facts(scorer.name, scorer.pretrained, None, given)
    told = {f"image_{'resize_mode' if fact == 'resize' else fact}": facts[fact] for fact in IMAGE}
    return {"force_quick_gelu": facts[ACTIVATION] == "quick_gelu", **told}


def _check_parts(config: Mapping[str, Any]) -> None:
    """ValueError for a model whose parts come from elsewhere, and may bring code: all of CLIP's are open_clip's own."""
    for section in ("text_cfg", "vision_cfg"):
        for key, value in (config.get(section) or {}).items():
            foreign = key.startswith("hf_") or key == "tokenizer_kwargs" or (key == "timm_model_name" and ":" in value)
            if value and foreign:
                raise ValueError(f"{section}.{key}={value!r} is of no CLIP; CLIPScore is defined on CLIP's own parts")


def _file_key(item: CaptionItem) -> tuple[str, int, int]:
    path = Path(item.image_path or "")
    try:
        status = path.stat()
    except OSError as error:
        raise ValueError(f"query {item.query_id!r}: photo {path} cannot be read: {error.strerror}") from error
    return str(path), status.st_mtime_ns, status.st_size


def _photo(item: CaptionItem) -> Image.Image:
    try:
        return read_photo(item.image_path or "")
    except ValueError as error:
        raise ValueError(f"query {item.query_id!r}: {error}") from error


def _batches(values: list[Any], size: int) -> Iterator[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))
