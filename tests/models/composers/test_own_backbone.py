"""A backbone whose author has read the contract and no other file."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diptych.contracts.models import Backbone, ImageFeatures, ImageSpec, TextFeatures, TextTokens
from diptych.data.triplets.feature_preparation import check_cacheable, feature_settings
from diptych.data.triplets.training_data import TrainingInputs
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.models.composers.baseline_composers import BaselineComposer
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.models.composers.good4cir import Good4CIRComposer
from diptych.photos.images import ImageReader


class Letters:
    """A tokenizer of letters."""

    image = ImageSpec(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def tokenize(self, texts) -> TextTokens:
        length = max(map(len, texts), default=0) or 1
        ids = torch.tensor([[ord(c) % 64 for c in text.ljust(length)] for text in texts])
        return TextTokens(ids, torch.tensor([[n < max(1, len(text)) for n in range(length)] for text in texts]))


class Plain(nn.Module):
    """Four patches, a table of letters, two projections."""

    def __init__(self) -> None:
        super().__init__()
        self.name, self.preprocessing = "plain", Letters()
        self.vision_dim, self.text_dim, self.embedding_dim, self.image_tokens = 8, 6, 4, "patches"
        self.vision_frozen = self.text_frozen = self.activation_checkpointing = False
        self.patches = nn.Linear(3 * 64, 8)
        self.letters = nn.Embedding(64, 6)
        self.to_image, self.to_text = nn.Linear(8, 4), nn.Linear(6, 4)

    @property
    def device(self) -> torch.device:
        return self.letters.weight.device

    def load_pretrained(self) -> None:
        nn.init.ones_(self.to_image.bias)

    def encode_image(self, pixels: Tensor) -> ImageFeatures:
        tokens = self.patches(
            (pixels / 255).unflatten(2, (2, 8)).unflatten(4, (2, 8)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        )
        pooled = tokens.mean(dim=1)
        return ImageFeatures(tokens, self.to_image(pooled), pooled)

    def encode_text(self, tokens: TextTokens) -> TextFeatures:
        hidden = self.letters(tokens.input_ids)
        real = tokens.mask[..., None]
        return TextFeatures(hidden, tokens.mask, self.to_text((hidden * real).sum(1) / real.sum(1)))

    def freeze_image_projection(self) -> None:
        self.to_image.requires_grad_(False)

    def freeze_text_projection(self) -> None:
        self.to_text.requires_grad_(False)

    def freeze_text_tower(self) -> None:
        self.letters.requires_grad_(False)
        self.to_text.requires_grad_(False)


def test_it_has_what_the_contract_asks_for():
    names = {*Backbone.__annotations__, *(name for name in vars(Backbone) if not name.startswith("_"))}
    assert not [name for name in names if not hasattr(Plain(), name)]


@pytest.mark.parametrize("kind", [CrossAttentionComposer, Good4CIRComposer])
def test_composers_train_on_it(kind, tiny_batch):
    torch.manual_seed(0)
    model = kind(Plain(), num_layers=1, num_heads=2)
    batch = tiny_batch(4)
    tokens = model.backbone.preprocessing.tokenize(["a lamp", "darker", "b", "no chair"])
    batch = type(batch)(**{**vars(batch), "text": tokens})
    loss = InfoNCE(reference_negatives=True)
    loss(model(batch, 2, with_reference="reference" in loss.wants), batch)["loss"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert model.embed_queries(batch.reference, tokens).keys() >= {"model", "sum", "image_only", "text_only"}


def test_baselines_encoders_and_features_take_it(tiny_batch):
    backbone = Plain()
    BaselineComposer(backbone, "image_only")
    assert not backbone.letters.weight.requires_grad
    encoder = CLIPEncoder(Plain())
    encoder.load()
    assert encoder.embed_images(tiny_batch(2).reference).shape == encoder.embed_texts(["a", "two beds"]).shape == (2, 4)
    with pytest.raises(ValueError, match="freeze=all"):
        check_cacheable(backbone)
    inputs = TrainingInputs({}, Letters(), ImageReader(Letters.image), "error", 0, 4)
    assert feature_settings(backbone, inputs, "float16")["backbone"] == "plain"
