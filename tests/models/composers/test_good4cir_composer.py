from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.contracts.models import TextFeatures
from diptych.models.composers.good4cir_composer import Good4CIRComposer


@pytest.fixture
def composer(tiny_backbone) -> Good4CIRComposer:
    return Good4CIRComposer(tiny_backbone(), num_heads=4).double()


def test_it_has_what_was_published_and_nothing_else(composer):
    assert len(composer.layers) == 4 and composer.scales.shape == (4,)
    own = [module for name, module in composer.named_modules() if not name.startswith("backbone")]
    kinds = {type(module) for module in own if not list(module.children())}
    assert kinds <= {nn.Linear, nn.modules.linear.NonDynamicallyQuantizableLinear}  # no norm, no activation
    widths = {tuple(p.shape) for name, p in composer.named_parameters() if name.startswith("layers.0")}
    assert widths == {(96, 32), (96,), (32, 32), (32,)}  # no feed-forward


def test_the_layers_have_no_residual(composer, tiny_batch):
    """Past a layer whose scale is zero nothing of the image is left, which a residual would carry on."""
    batch = tiny_batch(4)
    with torch.no_grad():
        composer.scales[-1] = 0.0
    query = composer(batch).query
    torch.testing.assert_close(query, query[:1].expand(4, -1))


def test_compose_against_the_published_steps(composer, tiny_batch):
    batch = tiny_batch(3)
    nn.init.normal_(composer.scales)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    hidden, words = image.tokens, composer.text_projection(text.tokens)
    for layer, scale in zip(composer.layers, composer.scales, strict=True):
        hidden = scale * layer(hidden, words, words)[0]
    query = composer.pool_query.expand(3, 1, 32)
    expected = F.normalize(composer.pool(query, hidden, hidden)[0][:, 0], dim=-1)
    torch.testing.assert_close(composer.compose(image, text), expected, rtol=0, atol=1e-12)


def test_the_target_is_the_pooled_output_before_projection(composer, tiny_batch):
    batch = tiny_batch(3)
    vit = composer.backbone.visual
    pixels = (batch.target.double() / 255 - composer.backbone.mean) / composer.backbone.std
    hidden = vit.transformer(vit._embeds(pixels))
    expected = F.normalize(vit.ln_post(hidden)[:, 0], dim=-1)  # the class token: what transformers calls pooler output
    torch.testing.assert_close(composer(batch).target, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mask_padding", [False, True])
def test_padding_counts_as_published_unless_masked(tiny_backbone, tiny_batch, mask_padding):
    composer, batch = Good4CIRComposer(tiny_backbone(), 2, 4, mask_padding=mask_padding).double(), tiny_batch(8)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    noise = 10 * torch.randn_like(text.tokens)
    changed = TextFeatures(torch.where(text.mask[..., None], text.tokens, noise), text.mask, text.embedding)
    difference = (composer.compose(image, changed) - composer.compose(image, text)).abs().max()
    assert difference < 1e-12 if mask_padding else difference > 1e-3


def test_the_unused_projections_are_not_trained(composer):
    assert not composer.backbone.visual.proj.requires_grad
    assert not composer.backbone.text.text_projection.requires_grad
