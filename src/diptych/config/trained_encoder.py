"""A trained CIR system as a photo encoder: the checkpoint says by itself which model it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from diptych.config import building, checking, resolvers
from diptych.config.command_line import composed
from diptych.config.own_weights import backbone_words
from diptych.config.plain_config import plain_section
from diptych.config.strangers import one_sentence
from diptych.config.trained import build_within, checkpoint_path, config_of
from diptych.contracts.models import ImageSpec
from diptych.parallel import checkpoints, plain_checkpoints
from diptych.parallel.sharded_checkpoints import SKELETON, is_sharded
from diptych.photos.images import ImageReader
from diptych.photos.photo_transform import PhotoTransform
from diptych.storage.weights_files import DESCRIPTIONS, kind_of

if TYPE_CHECKING:
    from diptych.models.composers.composed_model import ComposedModel

_PREFIX = "model."  # of the model's weights in a checkpoint of the CIR system


class TrainedEncoder(nn.Module):
    """A PhotoEncoder out of a checkpoint that `train.py` wrote for a CIR system, or of a run directory, whose best one
    is taken. Photos are embedded as that system embeds its gallery. CLIP weights of open_clip's or transformers', a
    file or folder with its description, are one too, whose queries are the sum of both embeddings.

    Nothing is read before `transform` or `load`, which raise ValueError where the checkpoint is missing, damaged, not
    of a CIR system, or names classes that a checkpoint may not name.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        super().__init__()
        self.checkpoint = checkpoint_path(str(checkpoint))
        self._untrained = kind_of(self.checkpoint) == "clip"
        self.model: ComposedModel | None = None

    @property
    def input_files(self) -> Sequence[Path]:
        """The checkpoint: what a run leaves under the same name decides the embeddings. Of CLIP weights what describes
        them, too.
        """
        if self._untrained:
            beside = (self.checkpoint.with_name(name) for name in DESCRIPTIONS)
            return (self.checkpoint, *(path for path in beside if path.is_file()))
        if plain_checkpoints.is_plain(self.checkpoint):
            return plain_checkpoints.files_of(self.checkpoint)
        return (self.checkpoint / SKELETON,) if is_sharded(self.checkpoint) else (self.checkpoint,)

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S)."""
        return PhotoTransform(self._image)

    @property
    def reader(self) -> ImageReader:
        """Reads picture files as an evaluation of the system does: uint8 pixels (3, S, S). It has no cache."""
        decoder = OmegaConf.select(self._config, "data.images.decoder")
        return ImageReader(self._image, decoder="fast" if decoder is None else str(decoder))

    def load(self, device: torch.device | None = None) -> None:
        """Builds the model, loads its weights and switches to evaluation. Weights that cannot be moved later are loaded
        on the `device`, or the current GPU unless it is given.
        """
        if self._untrained:
            self.model = building.build(self._settings, _convert_="all")
            self.model.load_pretrained(device or torch.device("cpu"))
            self.eval().requires_grad_(False)
            return
        weights = checkpoints.weights_of(checkpoints.load(self.checkpoint, weights_alone=True), self.checkpoint)
        own = {key.removeprefix(_PREFIX): value for key, value in weights.items() if key.startswith(_PREFIX)}
        model = build_within(own, self._settings, self.checkpoint, _convert_="all")
        model.load_pretrained(
            device if device is not None and model.stays_on_device else _place_of(model), weights_follow=True
        )
        checkpoints.load_weights(model, {"state_dict": own}, self.checkpoint)
        self.model = model
        self.eval().requires_grad_(False)

    def embed_images(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, E) of transformed photos (B, 3, S, S)."""
        assert self.model is not None
        pixels = inputs.to(self.model.backbone.device)
        return self.model.embed_image(self.model.backbone.encode_image(pixels)).float()

    def embed_queries(self, paths: Sequence[Path], texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E), on the CPU, of pictures with texts, to search those of
        `embed_images` with.
        """
        assert self.model is not None
        device, read = self.model.backbone.device, self.reader
        pixels = torch.stack([read(path) for path in paths]).to(device)
        tokens = self.model.backbone.preprocessing.tokenize(list(texts)).to(device)
        with torch.inference_mode():
            return self.model.embed_queries(pixels, tokens)["model"].float().cpu()

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, E); what is longer than the context loses its end.

        Raises:
            ValueError: the system compares pictures in a space without texts (good4cir's).
        """
        assert self.model is not None
        if not self.model.embeds_text:
            raise ValueError(f"{self.checkpoint}: its model compares pictures before texts join; it embeds no texts")
        tokens = self.model.backbone.preprocessing.tokenize(texts).to(self.model.backbone.device)
        return F.normalize(self.model.backbone.encode_text(tokens).embedding.float(), dim=-1)

    @cached_property
    def _image(self) -> ImageSpec:
        return build_within({}, self._settings.backbone.preprocessing, self.checkpoint, _convert_="all").image

    @cached_property
    def _settings(self) -> DictConfig:
        """The config of the checkpoint's model, resolved and safe to build."""
        with one_sentence(f"{self.checkpoint}: its config"):
            plain = plain_section(self._config.system.model)
        return checking.check_untrusted(OmegaConf.create({"system": {"model": plain}})).system.model

    @cached_property
    def _config(self) -> DictConfig:
        resolvers.register_resolvers()
        if self._untrained:
            return composed("train", ["name=untrained", "system/model=sum", *backbone_words(self.checkpoint)])
        config = config_of(checkpoints.load(self.checkpoint, weights_alone=True), self.checkpoint)
        if OmegaConf.select(config, "system.model.backbone.preprocessing") is None:
            raise ValueError(f"{self.checkpoint} holds no image backbone; name a checkpoint of a CIR system")
        return config


def _place_of(model: ComposedModel) -> torch.device:
    """Where weights that no checkpoint holds are loaded: the current GPU, if they cannot be moved there later."""
    on_gpu = model.stays_on_device and torch.cuda.is_available()
    return torch.device(f"cuda:{torch.cuda.current_device()}" if on_gpu else "cpu")
