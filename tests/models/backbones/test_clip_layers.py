"""The lean layers against open_clip's own, in towers of every kind."""

from __future__ import annotations

import open_clip
import pytest
import torch
from open_clip.transformer import LayerNorm, QuickGELU
from torch import nn

from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.backbones.clip_layers import SelfAttention, make_lean
from diptych.models.backbones.quick_gelu import LeanQuickGELU, QuickGELUNetwork
from diptych.models.layer_norm import LeanLayerNorm

TEXTS = ["add a lamp", "remove the red curtains and the rug beside the bed", ""]
CUSTOM = {"block_type": "custom", "qk_norm": True, "scale_heads": True, "scale_attn": True, "scale_fc": True}
KINDS = {
    "openai": {"quick_gelu": True},
    "laion": {},
    "average pool": {"vision": {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True}},
    "layer scale": {"vision": {"ls_init_value": 0.1}, "text": {"ls_init_value": 0.1}},
    "siglip": {
        "text": {
            "no_causal_mask": True, "pad_id": 1, "pool_type": "last", "proj_bias": True,
            "act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-6},
        },
    },
    "custom blocks": {"quick_gelu": True, "vision": CUSTOM, "text": CUSTOM},
}  # fmt: skip


def architecture_of(tiny_architecture, kind, quick_gelu=False):
    settings = KINDS[kind]
    towers = {f"{name}_cfg": tiny_architecture[f"{name}_cfg"] | settings.get(name, {}) for name in ("vision", "text")}
    return tiny_architecture | towers | {"quick_gelu": settings.get("quick_gelu", quick_gelu)}


def open_clips(architecture, weights):
    """open_clip's own model, with weights that are not at their start."""
    model = open_clip.CustomTextCLIP(**architecture)
    model.load_state_dict(weights)
    return model


def scattered(backbone):
    """Every weight moved: no norm is the identity, no bias is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in backbone.clip.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return backbone


def gradients(model, *outputs):
    """Of every weight, of a sum in which every output counts differently."""
    weights = [torch.linspace(-1, 1, output.numel()).view_as(output) for output in outputs]
    sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True)).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


# Without what is refused: texts that are not CLIP's, and, by open_clip 3, recomputation of custom blocks.
CASES = [
    (kind, tokenizer, checkpointing)
    for kind in KINDS
    for tokenizer in ("open_clip", "transformers")
    for checkpointing in (False, True)
    if (kind, tokenizer) != ("siglip", "transformers") and (kind, checkpointing) != ("custom blocks", True)
]


@pytest.mark.parametrize(("kind", "tokenizer", "checkpointing"), CASES)
def test_features_and_gradients_are_open_clips(tiny_architecture, kind, tokenizer, checkpointing):
    architecture = architecture_of(tiny_architecture, kind)
    preprocessing = CLIPPreprocessing("tiny", architecture=architecture, tokenizer=tokenizer)
    settings = {"architecture": architecture, "activation_checkpointing": checkpointing}
    ours = scattered(CLIPBackbone("tiny", preprocessing, **settings))
    theirs = open_clips(architecture, ours.clip.state_dict())
    theirs.logit_scale.requires_grad_(False)
    pixels, tokens = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8), preprocessing.tokenize(TEXTS)

    image, text = ours.encode_image(pixels), ours.encode_text(tokens)
    own = gradients(ours.clip, image.embedding, image.tokens, text.embedding, text.tokens)

    theirs.visual.output_tokens = theirs.text.output_tokens = True
    embedding, patches = theirs.visual((pixels / 255 - ours.mean) / ours.std)
    length = tokens.input_ids.shape[1]
    mask = None if theirs.text.attn_mask is None else theirs.text.attn_mask[:length, :length]
    if tokenizer == "transformers":
        mask = mask.masked_fill(~tokens.mask[:, None], -torch.inf).repeat_interleave(theirs.text.heads, dim=0)
    theirs.text._embeds = lambda ids: (
        theirs.text.token_embedding(ids) + theirs.text.positional_embedding[:length],
        mask,
    )
    words, hidden = theirs.text(tokens.input_ids)
    expected = gradients(theirs, embedding, patches, words, hidden)

    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close((image.embedding, image.tokens), (embedding, patches), **close)
    torch.testing.assert_close((text.embedding, text.tokens), (words, hidden), **close)
    scale = max(gradient.abs().max() for gradient in expected.values())
    torch.testing.assert_close(
        {name: value / scale for name, value in own.items()},
        {name: value / scale for name, value in expected.items()},
        **close,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_weights_keep_their_names_shapes_and_order(tiny_architecture, kind):
    """The optimizer's state goes by the order, checkpoints and released weights by the names."""
    model = open_clip.CustomTextCLIP(**architecture_of(tiny_architecture, kind))
    before = [(name, id(parameter)) for name, parameter in model.named_parameters()]
    state = {name: value.shape for name, value in model.state_dict().items()}
    make_lean(model)
    assert [(name, id(parameter)) for name, parameter in model.named_parameters()] == before
    assert {name: value.shape for name, value in model.state_dict().items()} == state


def test_every_layer_of_its_towers_is_exchanged(tiny_architecture):
    model = open_clip.CustomTextCLIP(**architecture_of(tiny_architecture, "openai"))
    make_lean(model)
    kinds = [type(module) for module in model.modules()]
    assert not {LayerNorm, QuickGELU, nn.MultiheadAttention} & set(kinds)
    assert [kinds.count(kind) for kind in (SelfAttention, LeanQuickGELU, QuickGELUNetwork, LeanLayerNorm)] == [
        4,
        4,
        4,
        11,
    ]
    assert [block.attn.causal for block in model.text.transformer.resblocks] == [True, True]
    assert [block.attn.causal for block in model.visual.transformer.resblocks] == [False, False]


def test_both_towers_compute_in_the_type_of_autocast(tiny_backbone, tiny_batch):
    """The stream of tokens, too, as the first layer of the image tower makes it."""
    backbone, batch = tiny_backbone(), tiny_batch(2)
    exact = backbone.encode_image(batch.reference).tokens, backbone.encode_text(batch.text).tokens
    with torch.autocast("cpu", torch.bfloat16):
        rough = backbone.encode_image(batch.reference).tokens, backbone.encode_text(batch.text).tokens
    assert [tokens.dtype for tokens in rough] == [torch.bfloat16] * 2
    torch.testing.assert_close(tuple(tokens.float() for tokens in rough), exact, rtol=0, atol=0.05)
