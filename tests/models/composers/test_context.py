"""The composer of ConText-CIR's corrected release, and its attention to noun phrases, against their plain formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.contracts.models import ImageFeatures, TextFeatures
from diptych.data.triplets.concepts import ConceptReader
from diptych.losses.concept_consistency import ConceptConsistency
from diptych.models.composers.context import ConTextComposer, ConTextFusion
from diptych.models.composers.good4cir import Good4CIRComposer

PHRASES = {
    "add a lamp": ("a lamp",),
    "remove the red curtains and the rug beside the bed": ("the red curtains", "the rug", "the bed"),
    "two more chairs, please": ("two more chairs",),
}

TEXTS = ["add a lamp", "remove the red curtains and the rug beside the bed", "darker", "a", "two more chairs, please"]


class Listed:
    """A finder that knows the phrases of these texts alone."""

    def load(self):
        pass

    def phrases(self, texts):
        return [PHRASES.get(text, ()) for text in texts]


def with_random_weights(module: nn.Module) -> nn.Module:
    """No zeros: everything that a formula could leave out counts."""
    torch.manual_seed(3)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


@pytest.fixture
def composer(tiny_backbone) -> ConTextComposer:
    model = ConTextComposer(tiny_backbone(image_tokens="before_norm"), num_layers=3, num_heads=4).double()
    with_random_weights(model.fusion)
    return model


@pytest.fixture
def batch(tiny_batch, tiny_preprocessing):
    text = tiny_preprocessing.tokenize(TEXTS)
    concepts = ConceptReader(Listed(), tiny_preprocessing)(TEXTS, text.mask.shape[1])
    return replace(tiny_batch(len(TEXTS)), text=text, concepts=concepts)


# ------------------------------------------------------------------------------------------- the fusion


def plain_attention(state, prefix, queries, context, num_heads):
    """One picture: queries (V, D), context (L, T) without pads, head by head; the output and each head's weights."""

    def linear(name, rows):
        return rows @ state[f"{prefix}.{name}.weight"].T + state[f"{prefix}.{name}.bias"]

    q, k, v = linear("q_proj", queries), linear("k_proj", context), linear("v_proj", context)
    width = q.shape[1] // num_heads
    outputs, maps = [], []
    for head in range(num_heads):
        own = slice(head * width, (head + 1) * width)
        weights = torch.softmax(q[:, own] @ k[:, own].T / width**0.5, dim=1)
        outputs.append(weights @ v[:, own])
        maps.append(weights)
    return linear("out_proj", torch.cat(outputs, dim=1)), torch.stack(maps)


def plain_query(state, vision, words, num_layers, num_heads):
    """x + attention(norm(x), words), then x + feed-forward(norm(x)), layer by layer; pooled, normed, projected."""

    def norm(name, rows):
        return F.layer_norm(rows, rows.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    maps = []
    for layer in range(num_layers):
        normed = norm(f"fusion_attn_norms.{layer}", vision)
        attended, weights = plain_attention(state, f"cross_attn_layers.{layer}", normed, words, num_heads)
        vision, name = vision + attended, f"fusion_ffns.{layer}"
        hidden = norm(f"fusion_ffn_norms.{layer}", vision) @ state[f"{name}.0.weight"].T + state[f"{name}.0.bias"]
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
        vision = vision + hidden @ state[f"{name}.3.weight"].T + state[f"{name}.3.bias"]
        maps.append(weights)
    queries = state["attn_pooler.queries"][0]
    pooled, _ = plain_attention(state, "attn_pooler.attention", queries, vision, num_heads)
    query = norm("attn_pooler.norm", pooled)[0] @ state["query_projection.weight"].T + state["query_projection.bias"]
    return query, torch.stack(maps).mean(dim=(0, 1))


def test_the_query_is_that_of_the_plain_formula():
    fusion = with_random_weights(ConTextFusion(32, 16, 24, num_heads=4, num_layers=3))
    vision, words = torch.randn(3, 5, 32, dtype=torch.double), torch.randn(3, 7, 16, dtype=torch.double)
    lengths = (7, 3, 1)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    (query, none), (same, attention) = fusion(vision, words, mask), fusion(vision, words, mask, with_attention=True)
    assert none is None
    torch.testing.assert_close(same, query, rtol=0, atol=1e-12)
    for row, length in enumerate(lengths):
        expected, weights = plain_query(fusion.state_dict(), vision[row], words[row, :length], 3, 4)
        torch.testing.assert_close(query[row], expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(attention[row, :, :length], weights, rtol=0, atol=1e-12)
        assert not attention[row, :, length:].any()


def test_its_parameters_are_those_of_the_release():
    """Names of `src/Models.py`, whose encoders and `visual_projection` are the backbone here."""
    with torch.device("meta"):
        fusion = ConTextFusion(768, 512, 512)
    attention = [f"{name}.{part}" for name in ("q_proj", "k_proj", "v_proj", "out_proj") for part in ("weight", "bias")]
    names = {f"cross_attn_layers.{layer}.{name}" for layer in range(4) for name in attention}
    both = ("weight", "bias")
    names |= {f"fusion_{kind}_norms.{layer}.{part}" for kind in ("attn", "ffn") for layer in range(4) for part in both}
    names |= {f"fusion_ffns.{layer}.{place}.{part}" for layer in range(4) for place in (0, 3) for part in both}
    names |= {f"attn_pooler.attention.{name}" for name in attention} | {"attn_pooler.queries"}
    names |= {f"{module}.{part}" for module in ("attn_pooler.norm", "query_projection") for part in both}
    assert fusion.state_dict().keys() == names
    # Of each layer: attention 2 * 768 * 769 + 2 * 768 * 513, feed-forward 3072 * 769 + 768 * 3073, norms 4 * 768;
    # of the pooling: 768 + 4 * 768 * 769 + 2 * 768; of the projection: 512 * 769.
    assert sum(parameter.numel() for parameter in fusion.parameters()) == 29_537_024


def test_a_text_changes_nothing_at_the_start(tiny_backbone, tiny_batch):
    composer, batch = ConTextComposer(tiny_backbone(image_tokens="before_norm"), 2, 4).double(), tiny_batch(4)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    fusion = composer.fusion
    expected = F.normalize(fusion.query_projection(fusion.attn_pooler(image.tokens)), dim=-1)
    torch.testing.assert_close(composer.compose(image, text), expected, rtol=0, atol=1e-12)
    with_random_weights(fusion)
    changed = composer.compose(image, text) - composer.compose(image, replace(text, tokens=text.tokens.flip(0)))
    assert changed.abs().max() > 1e-3
    with pytest.raises(ValueError, match="num_heads=7 does not divide the image tower's width 32"):
        ConTextFusion(32, 16, 16, num_heads=7)


def test_targets_are_the_backbones_embeddings_and_pads_count_nothing(composer, tiny_batch):
    batch = tiny_batch(8)
    image, text = composer.backbone.encode_image(batch.reference), composer.backbone.encode_text(batch.text)
    assert image.tokens.shape[1] == 5  # the class token, and four patches
    target = F.normalize(composer.backbone.encode_image(batch.target).embedding, dim=-1)
    torch.testing.assert_close(composer(batch).target, target, rtol=0, atol=1e-12)
    noise = 10 * torch.randn_like(text.tokens)
    changed = TextFeatures(torch.where(text.mask[..., None], text.tokens, noise), text.mask, text.embedding)
    torch.testing.assert_close(composer.compose(image, changed), composer.compose(image, text), rtol=0, atol=1e-12)


def test_what_it_does_not_use_is_not_trained(composer):
    assert not composer.backbone.text.text_projection.requires_grad
    assert composer.backbone.visual.proj.requires_grad  # targets are projected


# ------------------------------------------------------------------------------------------- attention to noun phrases


def words_of(composer, texts):
    return composer.backbone.encode_text(composer.backbone.preprocessing.tokenize(texts))


def test_the_attention_is_that_of_each_phrase_by_itself(composer, batch):
    """Phrase by phrase: its words' columns in the map of its text, and in that of a text that is the phrase."""
    found = composer(batch).concepts
    phrases = [(row, phrase) for row, text in enumerate(PHRASES) for phrase in PHRASES[text]]
    first_word = {"a lamp": 2, "the red curtains": 2, "the rug": 6, "the bed": 9, "two more chairs": 1}
    rows = {0: 0, 1: 1, 2: 4}  # the third text with phrases is the fifth of the batch
    assert found.in_text.shape == found.alone.shape == (5, 4)  # without the class token
    for number, (position, phrase) in enumerate(phrases):
        row, length = rows[position], len(phrase.split())
        image = composer.backbone.encode_image(batch.reference[row : row + 1])
        for text, start, got in (
            (list(PHRASES)[position], first_word[phrase], found.in_text),
            (phrase, 1, found.alone),
        ):
            words = words_of(composer, [text]).tokens[0]
            _, weights = plain_query(composer.fusion.state_dict(), image.tokens[0], words, 3, 4)
            expected = weights[1:, start : start + length].mean(dim=1)
            torch.testing.assert_close(got[number], expected, rtol=0, atol=1e-12)


def test_only_the_attention_in_the_text_has_a_gradient(composer, batch):
    concepts = composer(batch).concepts
    assert concepts.in_text.requires_grad and not concepts.alone.requires_grad


def test_the_query_is_the_same_with_and_without_phrases(composer, batch):
    with_phrases, without = composer(batch), composer(replace(batch, concepts=None))
    torch.testing.assert_close(with_phrases.query, without.query, rtol=0, atol=1e-12)
    assert without.concepts is None


def loss_and_gradients(model, batch, **settings):
    loss = ConceptConsistency(weight=1.0, epsilon=0.01)(model(batch, **settings), batch)["loss"]
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    model.zero_grad(set_to_none=True)
    return loss.detach(), gradients


@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_gradient_caching_equals_the_whole_batch(composer, batch, micro_batch_size):
    """In pieces of one triplet some have no phrase."""
    whole = loss_and_gradients(composer, batch)
    cached = loss_and_gradients(composer, batch, micro_batch_size=micro_batch_size)
    torch.testing.assert_close(cached[0], whole[0], rtol=0, atol=1e-12)
    for name, gradient in whole[1].items():
        torch.testing.assert_close(cached[1][name], gradient, rtol=0, atol=1e-10, msg=name)
    assert whole[1]["fusion.cross_attn_layers.0.k_proj.weight"].any()
    assert whole[1]["backbone.clip.text.token_embedding.weight"].any()


def test_features_stand_in_for_pixels_and_texts(tiny_backbone, batch):
    composer = ConTextComposer(tiny_backbone(freeze="all", image_tokens="before_norm"), 2, 4).double()
    with_random_weights(composer.fusion)
    encode = composer.backbone.encode_image
    features = replace(
        batch,
        reference=encode(batch.reference),
        target=encode(batch.target),
        text=composer.backbone.encode_text(batch.text),
    )
    assert isinstance(features.reference, ImageFeatures)
    torch.testing.assert_close(loss_and_gradients(composer, features), loss_and_gradients(composer, batch))


def test_every_patch_counts_where_there_is_no_class_token(tiny_backbone, batch):
    composer = ConTextComposer(tiny_backbone(), 2, 4)
    concepts = composer(batch).concepts
    assert concepts.in_text.shape == (5, 4)


def test_a_batch_without_phrases(composer, tiny_batch, tiny_preprocessing):
    batch = tiny_batch(2)
    concepts = ConceptReader(Listed(), tiny_preprocessing)(["a", "darker"], batch.text.mask.shape[1])
    embeddings = composer(replace(batch, concepts=concepts))
    assert embeddings.concepts.in_text.shape == embeddings.concepts.alone.shape == (0, 4)


def test_a_composer_that_shows_no_attention_says_so(tiny_backbone, batch):
    model = Good4CIRComposer(tiny_backbone(), 2, 4)
    assert not model.attends_to_words
    with pytest.raises(TypeError, match="Good4CIRComposer has no attention from patches to words"):
        model(batch)
