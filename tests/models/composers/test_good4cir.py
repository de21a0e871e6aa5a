"""The released composer: what its authors' code gave, and what an earlier version's checkpoints hold."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from diptych.contracts.models import TextFeatures
from diptych.contracts.retrieval import ContrastiveEmbeddings
from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.good4cir import Good4CIRComposer, Good4CIRFusion
from diptych.models.layer_norm import LeanLayerNorm
from golden_files import COMMITTED


@pytest.fixture(scope="module")
def released():
    """Weights, inputs, query, loss and gradients, by the authors' code: 4 layers of 4 heads, 48 and 32 wide."""
    return load_file(COMMITTED / "good4cir_composer/tiny.safetensors")


def part(tensors, prefix):
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def test_weights_query_loss_and_every_gradient_are_the_authors(released, tiny_batch):
    fusion = Good4CIRFusion(48, 32, num_heads=4)
    fusion.load_state_dict(part(released, "weights/"))
    query = fusion(released["vision_tokens"], released["text_tokens"])
    torch.testing.assert_close(query, released["query"], rtol=0, atol=1e-6)
    embeddings = ContrastiveEmbeddings(F.normalize(query, dim=-1), F.normalize(released["target"], dim=-1), None, None)
    loss = InfoNCE(temperature=0.07, gather_negatives=False)(embeddings, tiny_batch(5))["loss"]
    torch.testing.assert_close(loss, released["loss"][0], rtol=0, atol=1e-6)
    loss.backward()
    expected = part(released, "gradients/")
    assert expected.keys() == dict(fusion.named_parameters()).keys()
    for name, parameter in fusion.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_it_has_as_many_parameters_as_released():
    with torch.device("meta"):
        fusion = Good4CIRFusion(768, 512)
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 10_239_749


def test_the_attention_starts_flat():
    layer = Good4CIRFusion(48, 32).cross_attn_layers[0]
    assert layer.scale.item() == pytest.approx(48**-0.5)
    with pytest.raises(ValueError, match="num_heads=7 does not divide the image tower's width 48"):
        Good4CIRFusion(48, 32, num_heads=7)


@pytest.fixture
def composer(tiny_backbone) -> Good4CIRComposer:
    return Good4CIRComposer(tiny_backbone(image_tokens="before_norm"), num_heads=4).double()


def test_the_tokens_are_all_of_them_before_the_last_norm(composer, tiny_batch):
    batch, vit = tiny_batch(3), composer.backbone.visual
    pixels = (batch.reference.double() / 255 - composer.backbone.mean) / composer.backbone.std
    hidden = vit.transformer(vit._embeds(pixels))
    image = composer.backbone.encode_image(batch.reference)
    torch.testing.assert_close(image.tokens, hidden, rtol=0, atol=1e-12)
    assert image.tokens.shape[1] == 5  # the class token, and four patches
    text = composer.backbone.encode_text(batch.text)
    expected = F.normalize(composer.fusion(hidden, text.tokens), dim=-1)
    torch.testing.assert_close(composer(batch).query, expected, rtol=0, atol=1e-12)


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
    with torch.no_grad():
        for layer in composer.fusion.cross_attn_layers:
            layer.scale.fill_(1.0)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    noise = 10 * torch.randn_like(text.tokens)
    changed = TextFeatures(torch.where(text.mask[..., None], text.tokens, noise), text.mask, text.embedding)
    difference = (composer.compose(image, changed) - composer.compose(image, text)).abs().max()
    assert difference < 1e-12 if mask_padding else difference > 1e-3


def test_the_unused_projections_are_not_trained(composer):
    assert not composer.backbone.visual.proj.requires_grad
    assert not composer.backbone.text.text_projection.requires_grad


PARTS = {
    "residual": {"residual": True},
    "norms": {"norms": True},
    "feed_forward": {"residual": True, "feed_forward_ratio": 2.0},
    "all": {"residual": True, "norms": True, "feed_forward_ratio": 2.0},
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_against_the_formula(part):
    torch.manual_seed(0)
    settings = PARTS[part]
    fusion = Good4CIRFusion(8, 6, num_heads=2, num_layers=2, **settings).double()
    for parameter in fusion.parameters():  # a norm is more than its first weights
        nn.init.normal_(parameter)
    tokens, words = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(3, 4, 6, dtype=torch.float64)
    hidden = tokens
    for number, attention in enumerate(fusion.cross_attn_layers):
        norms = (fusion.token_norms[number], fusion.word_norms[number]) if "norms" in settings else [nn.Identity()] * 2
        attended = attention(norms[0](hidden), norms[1](words))
        hidden = hidden + attended if settings.get("residual") else attended
        if "feed_forward_ratio" in settings:
            norm, (wide, _, _, narrow) = fusion.feed_forwards[number]
            hidden = hidden + narrow(F.gelu(wide(norm(hidden))))
            assert wide.out_features == 16
    expected = fusion.attn_pooler(fusion.pool_norm(hidden))
    torch.testing.assert_close(fusion(tokens, words), expected, rtol=0, atol=1e-12)
    num_norms = sum(isinstance(module, LeanLayerNorm) for module in fusion.modules())
    assert num_norms == {"residual": 0, "norms": 5, "feed_forward": 0, "all": 7}[part]


def test_without_their_attention_residual_layers_are_the_identity():
    fusion = Good4CIRFusion(8, 6, num_heads=2, residual=True)
    for layer in fusion.cross_attn_layers:
        nn.init.zeros_(layer.out_proj.weight)
        nn.init.zeros_(layer.out_proj.bias)
    tokens = torch.randn(3, 5, 8)
    assert torch.equal(fusion(tokens, torch.randn(3, 4, 6)), fusion.attn_pooler(tokens))


def test_a_part_adds_its_own_weights_and_begins_from_those_of_the_release(tiny_backbone):
    """Names of weights do not change, and one seed gives all ladders of parts the same first weights."""

    def weights(**settings):
        backbone = tiny_backbone()
        torch.manual_seed(1)
        return Good4CIRComposer(backbone, 2, 4, **settings).state_dict()

    released = weights()
    assert {name.split(".")[1] for name in released if name.startswith("fusion.")} == {
        "cross_attn_layers",
        "attn_pooler",
    }
    assert weights(residual=True, mask_padding=True).keys() == released.keys()
    everything = weights(residual=True, norms=True, feed_forward_ratio=2.0, shared_space=True)
    added = {name.split(".")[1] for name in everything.keys() - released.keys()}
    assert added == {"token_norms", "word_norms", "pool_norm", "feed_forwards", "weight", "bias"}
    assert all(torch.equal(everything[name], weight) for name, weight in released.items())


def test_in_the_shared_space_the_target_is_clips_own_embedding(tiny_backbone, tiny_batch):
    composer, batch = Good4CIRComposer(tiny_backbone(), 2, 4, shared_space=True), tiny_batch(3)
    embeddings, image = composer(batch), composer.backbone.encode_image(batch.target)
    assert composer.embeds_text and embeddings.query.shape == (3, 16)
    torch.testing.assert_close(embeddings.target, F.normalize(image.embedding, dim=-1))
    assert composer.backbone.visual.proj.requires_grad and not composer.backbone.text.text_projection.requires_grad


def test_feed_forward_layers_need_residual_connections(tiny_backbone):
    with pytest.raises(ValueError, match=r"feed_forward_ratio=2.0: .* set residual=true"):
        Good4CIRComposer(tiny_backbone(), 2, 4, feed_forward_ratio=2.0)


class OfFormat2(nn.Module):
    """What `system/model=good4cir` was until checkpoint format 3."""

    def __init__(self, text_dim, width, num_layers, num_heads):
        super().__init__()
        self.text_projection = nn.Linear(text_dim, width)
        self.layers = nn.ModuleList(
            nn.MultiheadAttention(width, num_heads, batch_first=True) for _ in range(num_layers)
        )
        self.scales = nn.Parameter(torch.rand(num_layers) + 0.5)
        self.pool_query = nn.Parameter(torch.randn(1, 1, width))
        self.pool = nn.MultiheadAttention(width, num_heads, batch_first=True)
        for attention in (*self.layers, self.pool):
            nn.init.normal_(attention.in_proj_bias)
            nn.init.normal_(attention.out_proj.bias)

    def forward(self, hidden, words):
        words = self.text_projection(words)
        for layer, scale in zip(self.layers, self.scales, strict=True):
            hidden = scale * layer(hidden, words, words)[0]
        return self.pool(self.pool_query.expand(len(hidden), -1, -1), hidden, hidden)[0][:, 0]


def test_weights_of_an_earlier_version_compute_what_they_did(tiny_backbone, tiny_batch):
    backbone, batch = tiny_backbone(), tiny_batch(3)
    composer = Good4CIRComposer(backbone, 2, 4).double()
    old = OfFormat2(backbone.text_dim, backbone.vision_dim, 2, 4).double()
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()} | old.state_dict()
    holder = nn.ModuleDict({"model": composer})
    holder.load_state_dict({f"model.{name}": value for name, value in state.items()})
    image, text = backbone.encode_image(batch.reference), backbone.encode_text(batch.text)
    expected = F.normalize(old(image.tokens, text.tokens), dim=-1)
    torch.testing.assert_close(composer.compose(image, text), expected, rtol=0, atol=1e-12)
