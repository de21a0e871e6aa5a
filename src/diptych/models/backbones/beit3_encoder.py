"""BEiT-3 as a photo encoder: checkpoint, tokenizer and picture size in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diptych.contracts.models import ImageSpec
from diptych.models.backbones.beit3 import BEiT3
from diptych.models.backbones.beit3_tokenizer import BEiT3Tokenizer
from diptych.models.backbones.encoder_dtype import AUTO, check_dtype, settled_dtype, weights_dtype
from diptych.photos.photo_transform import PhotoTransform, normalise

_MEAN = _STD = (0.5, 0.5, 0.5)


class BEiT3Encoder(nn.Module):
    """A PhotoEncoder of a BEiT-3 retrieval checkpoint; construction reads nothing.

    `checkpoint` and `num_heads` are those of `BEiT3.from_checkpoint`; `tokenizer` is `beit3.spm`, or None for an
    encoder that reads no text. Pictures are squashed to `image_size` pixels square (bicubic), as in the published
    evaluation; a size other than the checkpoint's own interpolates the positions. `dtype` is that of the weights.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        tokenizer: str | Path | None = None,
        image_size: int = 384,
        num_heads: int | None = None,
        dtype: str = AUTO,
    ) -> None:
        super().__init__()
        self.checkpoint, self.tokenizer_file, self.num_heads = checkpoint, tokenizer, num_heads
        self.dtype = check_dtype(dtype)
        self.image = ImageSpec(image_size, _MEAN, _STD, resize="squash")
        self.model: BEiT3 | None = None
        self._tokenizer: BEiT3Tokenizer | None = None

    @classmethod
    def settled(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `dtype` is on this machine, for a config that is kept."""
        return settled_dtype(settings)

    @property
    def transform(self) -> Callable[[Tensor], Tensor]:
        """uint8 pixels (3, H, W) to uint8 pixels (3, S, S)."""
        return PhotoTransform(self.image)

    def load(self) -> None:
        """Loads weights and tokenizer.

        Raises:
            ValueError: as `BEiT3.from_checkpoint` and `BEiT3Tokenizer`, or the picture size is no multiple of the
                model's patch size.
        """
        model = BEiT3.from_checkpoint(self.checkpoint, self.num_heads)
        if self.image.size % model.sizes.patch_size:
            raise ValueError(
                f"image_size={self.image.size} is no multiple of {model.sizes.patch_size}, the patch size of "
                f"{self.checkpoint}"
            )
        if self.tokenizer_file is not None:
            self._tokenizer = BEiT3Tokenizer(self.tokenizer_file, model.sizes.vocabulary)
        self.model = model.to(weights_dtype(self.dtype))

    def embed_images(self, inputs: Tensor) -> Tensor:
        """L2-normalised float32 embeddings (B, D) of transformed photos (B, 3, S, S)."""
        model = self._loaded()
        weight = model.logit_scale
        return model.encode_image(normalise(inputs.to(weight.device), self.image).to(weight.dtype))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """L2-normalised float32 embeddings (B, D); ValueError without a tokenizer."""
        model = self._loaded()
        if self._tokenizer is None:
            raise ValueError("this BEiT-3 encoder has no tokenizer: set tokenizer to the file beit3.spm to embed texts")
        tokens = self._tokenizer.tokenize(texts).to(model.logit_scale.device)
        return model.encode_text(tokens.input_ids, ~tokens.mask)

    def _loaded(self) -> BEiT3:
        if self.model is None:
            raise ValueError(f"the weights of {self.checkpoint} are not loaded yet: call load() first")
        return self.model
