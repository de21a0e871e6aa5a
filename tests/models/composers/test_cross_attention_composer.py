from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.models import TextFeatures
from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer, MultiHeadCrossAttention


@pytest.fixture
def composer(tiny_backbone) -> CrossAttentionComposer:
    """As it is after some training: nothing is zero any more."""
    composer = CrossAttentionComposer(tiny_backbone(), num_layers=2, num_heads=4)
    torch.nn.init.normal_(composer.projection.weight, std=0.3)
    return composer.double()


def test_the_published_shape_is_the_default(tiny_backbone):
    composer = CrossAttentionComposer(tiny_backbone())
    assert len(composer.layers) == 4 and composer.layers[0].attention.num_heads == 8
    assert composer.layers[0].attention.head_scale.numel() == 8


def test_at_step_0_the_query_is_the_image_embedding(tiny_backbone, tiny_batch):
    composer, batch = CrossAttentionComposer(tiny_backbone(), num_heads=4), tiny_batch(4)
    image = composer.backbone.encode_image(batch.reference)
    query = composer.compose(image, composer.backbone.encode_text(batch.text))
    assert torch.equal(query, F.normalize(image.embedding, dim=-1))
    assert torch.equal(query, composer.embed_image(image))


@pytest.mark.parametrize(("start", "baseline"), [("image", "image_only"), ("sum", "sum"), ("text", "text_only")])
def test_at_step_0_the_query_is_the_baseline_of_its_start(tiny_backbone, tiny_batch, start, baseline):
    composer, batch = CrossAttentionComposer(tiny_backbone(), num_heads=4, start=start).double(), tiny_batch(4)
    queries = composer.embed_queries(batch.reference, batch.text)
    torch.testing.assert_close(queries["model"], queries[baseline], rtol=0, atol=1e-12)


def test_what_is_learned_weighs_alike_in_all_starts(tiny_backbone, tiny_batch):
    """The starts of one query have one length but for the sum's, and the change is added to each as it is."""
    composer, batch = CrossAttentionComposer(tiny_backbone(), num_heads=4).double(), tiny_batch(4)
    torch.nn.init.normal_(composer.projection.weight)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    queries, length = {}, image.embedding.norm(dim=-1, keepdim=True)
    for composer.start in ("image", "sum", "text", "none"):
        queries[composer.start] = composer.compose(image, text)
    change = composer.projection(composer.pool(after_layers(composer, image, text)))
    of_text = length * F.normalize(text.embedding, dim=-1)
    sums = {"image": image.embedding, "sum": image.embedding + of_text, "text": of_text, "none": 0 * of_text}
    for start, begin in sums.items():
        torch.testing.assert_close(queries[start], F.normalize(begin + change, dim=-1), rtol=0, atol=1e-12)


def after_layers(composer, image, text):
    hidden = image.tokens
    for layer in composer.layers:
        hidden = layer(hidden, text.tokens, text.mask)[0]
    return hidden


def test_without_a_start_the_text_matters_at_once(tiny_backbone, tiny_batch):
    composer, batch = CrossAttentionComposer(tiny_backbone(), num_heads=4, start="none"), tiny_batch(2)
    query = composer(batch).query
    assert (query[0] - query[1]).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"start='both' is not one of image, sum, text, none"):
        CrossAttentionComposer(tiny_backbone(), start="both")


@pytest.mark.parametrize("start", ["image", "sum", "text", "none"])
def test_weights_fit_whatever_the_start(composer, tiny_backbone, start):
    """Weights of runs from before there was a choice are weights of every start."""
    other = CrossAttentionComposer(tiny_backbone(), num_layers=2, num_heads=4, start=start)
    assert other.load_state_dict(composer.state_dict()).missing_keys == []


def test_padding_changes_nothing(composer, tiny_architecture, tiny_batch):
    batch = tiny_batch(8)
    image = composer.backbone.encode_image(batch.reference)
    text = composer.backbone.encode_text(batch.text)
    noise = torch.randn_like(text.tokens)
    nonsense = TextFeatures(torch.where(text.mask[..., None], text.tokens, 100 * noise), text.mask, text.embedding)
    torch.testing.assert_close(composer.compose(image, nonsense), composer.compose(image, text), rtol=0, atol=1e-12)

    full = CLIPPreprocessing("tiny", architecture=tiny_architecture, pad_to_context=True)
    padded = composer.backbone.encode_text(full.tokenize(["add a lamp"] * 8))
    trimmed = composer.backbone.encode_text(composer.backbone.preprocessing.tokenize(["add a lamp"] * 8))
    torch.testing.assert_close(composer.compose(image, padded), composer.compose(image, trimmed), rtol=0, atol=1e-12)


def test_a_query_does_not_depend_on_its_company(composer, tiny_batch):
    batch = tiny_batch(8)
    together = composer(batch).query
    alone = [
        composer.embed_queries(batch.reference[row : row + 1], composer.backbone.preprocessing.tokenize([text]))[
            "model"
        ]
        for row, text in [(0, "add a lamp"), (3, "a")]
    ]
    torch.testing.assert_close(torch.cat(alone), together[[0, 3]], rtol=0, atol=1e-12)


def test_the_text_decides(composer, tiny_batch):
    batch = tiny_batch(1)
    image = composer.backbone.encode_image(batch.reference)
    first, second = (
        composer.compose(image, composer.backbone.encode_text(composer.backbone.preprocessing.tokenize([text])))
        for text in ("add a lamp", "darker")
    )
    assert (first - second).abs().max() > 1e-3


def test_the_layer_is_pre_norm_and_residual(composer):
    layer = composer.layers[0]
    for parameter in (*layer.attention.to_output.parameters(), *layer.feed_forward[-1].parameters()):
        torch.nn.init.zeros_(parameter)
    hidden = torch.randn(2, 4, 32, dtype=torch.float64)
    words, mask = torch.randn(2, 3, 16, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    assert torch.equal(layer(hidden, words, mask)[0], hidden)


def test_attention_against_the_formula():
    torch.manual_seed(0)
    attention = MultiHeadCrossAttention(width=8, text_dim=6, num_heads=2).double()
    torch.nn.init.normal_(attention.head_scale)
    queries, words = torch.randn(1, 3, 8, dtype=torch.float64), torch.randn(1, 5, 6, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, False]])

    key, value = attention.to_key_value(words[0, :3]).chunk(2, dim=-1)
    query, heads = attention.to_query(queries[0]), []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        weights = (query[:, part] @ key[:, part].T / math.sqrt(4)).softmax(dim=-1)
        heads.append(attention.head_scale[head] * (weights @ value[:, part]))
    expected = attention.to_output(torch.cat(heads, dim=-1))
    torch.testing.assert_close(attention(queries, words, mask)[0][0], expected, rtol=0, atol=1e-12)


def test_dropout_is_off_in_evaluation(tiny_backbone, tiny_batch):
    composer, batch = CrossAttentionComposer(tiny_backbone(), num_heads=4, dropout=0.5), tiny_batch(4)
    torch.nn.init.normal_(composer.projection.weight)
    assert not torch.equal(composer(batch).query, composer(batch).query)
    composer.eval()
    assert torch.equal(composer(batch).query, composer(batch).query)


def test_heads_must_divide_the_width(tiny_backbone):
    with pytest.raises(ValueError, match=r"num_heads=5 does not divide the backbone's width 32"):
        CrossAttentionComposer(tiny_backbone(), num_heads=5)
