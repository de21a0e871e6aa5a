"""SigLIP and SigLIP 2 as photo encoders, through transformers: fixed resolution and NaFlex.

A wrong tokenizer does not fail in these models, it degrades them: their text towers were trained on lower-case text,
its end token, padding on the right to one fixed length, and no mask. So the tokenizer is tried out when it is loaded.

Shape letters: B batch, H height, W width, S picture size, P patches, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from diptych.contracts.models import ImageSpec
from diptych.models.backbones.encoder_dtype import AUTO, check_dtype, settled_dtype, weights_dtype
from diptych.models.plain_text import broken_up, control_signs
from diptych.photos.photo_transform import PhotoTransform, normalise
from diptych.storage.model_files import load_model

_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers, by which processor files name them
_NAFLEX_INPUTS = ("pixel_values", "pixel_attention_mask", "spatial_shapes")
_PROBE = "a cat on the beach"
_NO_LIMIT = 10**6  # tokenizers that know of no length name one far above


class SiglipEncoder(nn.Module):
    """A PhotoEncoder of any SigLIP or SigLIP 2 checkpoint; construction reads nothing.

    `name` is a model of the hub, a folder, or `package:NAME/PATH`; `dtype` that of the weights. Photos of a
    NaFlex model keep their shape and become up to `max_num_patches` patches; all others are squashed to a square.
    """

    model_names: ClassVar[Mapping[str, str]] = {"name": "hub"}  # see config/model_names.py

    def __init__(self, name: str, dtype: str = AUTO) -> None:
        super().__init__()
        self.name, self.dtype = name, check_dtype(dtype)
        self.model: Any = None
        self._tokenizer: Any = None
        self._transform: PhotoTransform | NaFlexTransform | None = None

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `dtype` is on this machine, for a config that is kept."""
        return settled_dtype(settings)

    @property
    def transform(self) -> PhotoTransform | NaFlexTransform:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S), or NaFlex' dict; read off the checkpoint's small files.

        Raises:
            ValueError: the checkpoint's image processor cannot be found, or prepares pictures in an unknown way.
        """
        if self._transform is None:
            processor = _load(AutoImageProcessor, self.name, "image processor")
            naflex = hasattr(processor, "max_num_patches")
            self._transform = NaFlexTransform(processor) if naflex else _fixed_transform(processor, self.name)
        return self._transform

    def load(self) -> None:
        """Loads weights and tokenizer.

        Raises:
            ValueError: the checkpoint cannot be found, is of another kind of model, lacks weights, or its tokenizer or
                image processor is not the model's (see `check_tokenizer`).
        """
        config = _load(AutoConfig, self.name, "configuration")
        if config.model_type not in ("siglip", "siglip2"):
            raise ValueError(f"{self.name} is a {config.model_type} model; SiglipEncoder takes siglip and siglip2")
        self._check_picture_size(config)
        tokenizer = _load(AutoTokenizer, self.name, "tokenizer")
        check_tokenizer(tokenizer, config.text_config.max_position_embeddings, config.text_config.vocab_size, self.name)
        model, report = _load(AutoModel, self.name, "model", dtype=weights_dtype(self.dtype), output_loading_info=True)
        if report["missing_keys"]:
            raise ValueError(f"{self.name} lacks weights: {', '.join(sorted(report['missing_keys'])[:3])}, ...")
        self._tokenizer, self.model = tokenizer, model.eval().requires_grad_(False)

    def embed_images(self, inputs: Any) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of transformed photos: (B, 3, S, S), or NaFlex' dict of tensors."""
        model = self._loaded()
        transform = self.transform
        if isinstance(transform, PhotoTransform):
            given = {"pixel_values": normalise(inputs.to(model.device), transform.spec)}
        else:
            given = {key: inputs[key].to(model.device) for key in _NAFLEX_INPUTS}
        given["pixel_values"] = given["pixel_values"].to(model.dtype)
        return F.normalize(model.get_image_features(**given).pooler_output.float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); texts are lower-cased, and what is too long loses its end."""
        model = self._loaded()
        ids = _encode(self._tokenizer, texts, model.config.text_config.max_position_embeddings).to(model.device)
        # No mask: in training the pads were read like words, and the last position is the one that is pooled.
        return F.normalize(model.get_text_features(input_ids=ids).pooler_output.float(), dim=-1)

    def _loaded(self) -> Any:
        if self.model is None:
            raise ValueError(f"the weights of {self.name} are not loaded yet: call load() first")
        return self.model

    def _check_picture_size(self, config: Any) -> None:
        vision, transform = config.vision_config, self.transform
        fixed = isinstance(transform, PhotoTransform)
        ours = transform.spec.size if isinstance(transform, PhotoTransform) else transform.processor.patch_size
        if fixed != (config.model_type == "siglip") or ours != (vision.image_size if fixed else vision.patch_size):
            kind = "pictures" if fixed else "patches"
            raise ValueError(
                f"{self.name}: its image processor makes {kind} of {ours} pixels, which is not what its "
                f"{config.model_type} model reads; the preprocessor_config.json is another model's"
            )


@dataclass(frozen=True)
class NaFlexTransform:
    """uint8 pixels (3, H, W) to `pixel_values` (P, 3 * patch_size^2), `pixel_attention_mask` (P) and `spatial_shapes`
    (2), rows and columns of real patches; P is the processor's `max_num_patches`, whatever the photo.
    """

    processor: Any

    def __call__(self, pixels: Tensor) -> dict[str, Tensor]:
        """The prepared photo."""
        batch = self.processor(images=[pixels], return_tensors="pt")
        return {key: batch[key][0] for key in _NAFLEX_INPUTS}


def check_tokenizer(tokenizer: Any, length: int, num_words: int, name: str) -> None:
    """Tries a tokenizer for a text tower of `length` positions and `num_words` embeddings.

    Raises:
        ValueError: a text does not come out as its words, the end token and pads on the right up to `length`, a long
            one loses its end token, or the vocabulary is another model's.
    """

    def wrong(what: str) -> ValueError:
        return ValueError(f"{name}: its tokenizer ({type(tokenizer).__name__}) {what}; take the model's own files")

    limit = tokenizer.model_max_length
    if limit < _NO_LIMIT and limit != length:
        raise wrong(f"is for texts of {limit} tokens, the model for {length}")
    if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
        raise wrong("has no end or padding token")
    words = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    if not 0 < len(words) < length or tokenizer.unk_token_id in words:
        raise wrong(f"does not know the words of {_PROBE!r}")
    if len(tokenizer) < num_words / 2 or max(*words, tokenizer.eos_token_id, tokenizer.pad_token_id) >= num_words:
        raise wrong(f"has {len(tokenizer)} tokens, the model {num_words}")
    short, long = _encode(tokenizer, [_PROBE, " ".join([_PROBE] * length)], length).tolist()
    if tokenizer.padding_side != "right" or short[: len(words)] != words:
        raise wrong(
            "pads on the left, or puts a token before the text; the model wants padding_side='right' and no start"
        )
    if short[len(words)] != tokenizer.eos_token_id or long[-1] != tokenizer.eos_token_id:
        raise wrong("does not end a text with its end token (add_eos_token)")
    if set(short[len(words) + 1 :]) != {tokenizer.pad_token_id}:
        raise wrong("puts something else than padding behind the end token")


def _encode(tokenizer: Any, texts: Sequence[str], length: int) -> Tensor:
    """Token ids (B, L), every text padded or cut to `length`."""
    signs = control_signs(tokenizer)
    # Gemma's tokenizer class, which SigLIP 2 comes with, keeps case.
    lower = [broken_up(text.lower(), signs) for text in texts]
    return tokenizer(lower, padding="max_length", max_length=length, truncation=True, return_tensors="pt")["input_ids"]


def _fixed_transform(processor: Any, name: str) -> PhotoTransform:
    size, resample = processor.size, int(processor.resample)
    sides = {size["height"], size["width"]} if "height" in size and "width" in size else set()
    plain = processor.do_resize and processor.do_rescale and processor.do_normalize and not processor.do_center_crop
    factor = float(processor.rescale_factor)
    if len(sides) != 1 or resample not in _INTERPOLATIONS or not plain or abs(factor * 255 - 1) > 0.01:
        raise ValueError(
            f"{name}: its image processor does not squash pictures to a square and normalise them (size {dict(size)}, "
            f"resample {resample}, rescale_factor {factor:.4g}), as SigLIP's does"
        )
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    return PhotoTransform(ImageSpec(sides.pop(), mean, std, _INTERPOLATIONS[resample], resize="squash"))


def _load(loader: Any, name: str, what: str, **settings: Any) -> Any:
    return load_model(
        loader.from_pretrained, name, what, "name a folder that holds it, or download it once", **settings
    )
