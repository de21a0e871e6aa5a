from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.models import ImageFeatures
from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.composers.baseline_composers import BaselineComposer
from diptych.models.composers.composed_model import ComposedModel, at_least_float32
from diptych.models.composers.context import ConTextComposer
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.models.composers.good4cir import Good4CIRComposer

COMPOSERS = {
    "cross_attention": lambda backbone: CrossAttentionComposer(backbone, num_layers=2, num_heads=4),
    "good4cir": lambda backbone: Good4CIRComposer(backbone, num_layers=2, num_heads=4),
    "context": lambda backbone: ConTextComposer(backbone, num_layers=2, num_heads=4),
    "sum": lambda backbone: BaselineComposer(backbone, "sum"),
    "image_only": lambda backbone: BaselineComposer(backbone, "image_only"),
    "text_only": lambda backbone: BaselineComposer(backbone, "text_only"),
}
# Their settings that change which parameters there are, or what is trained.
VARIANTS = {
    "cross_attention, from the sum": lambda backbone: CrossAttentionComposer(backbone, 2, 4, start="sum"),
    "cross_attention, from the text": lambda backbone: CrossAttentionComposer(backbone, 2, 4, start="text"),
    "cross_attention, from nothing": lambda backbone: CrossAttentionComposer(backbone, 2, 4, start="none"),
    "good4cir, residual": lambda backbone: Good4CIRComposer(backbone, 2, 4, residual=True),
    "good4cir, norms": lambda backbone: Good4CIRComposer(backbone, 2, 4, norms=True),
    "good4cir, shared space": lambda backbone: Good4CIRComposer(backbone, 2, 4, shared_space=True),
    "good4cir, all parts": lambda backbone: Good4CIRComposer(
        backbone, 2, 4, mask_padding=True, residual=True, norms=True, feed_forward_ratio=2.0, shared_space=True
    ),
}


@pytest.fixture(params=COMPOSERS)
def model(request, tiny_backbone) -> ComposedModel:
    return COMPOSERS[request.param](tiny_backbone())


def off_zero(model: ComposedModel) -> ComposedModel:
    """Moves the zero-initialised projections away, so that gradients reach the layers below them."""
    zeros = [parameter for parameter in model.parameters() if parameter.ndim == 2 and not parameter.any()]
    for parameter in zeros:
        torch.nn.init.normal_(parameter, std=0.3, generator=torch.Generator().manual_seed(1))
    return model


def loss_and_gradients(
    model: ComposedModel, batch: TripletBatch, loss_batch: TripletBatch | None = None, **settings
) -> tuple[torch.Tensor, dict]:
    """With `loss_batch`, the loss masks by that batch's keys."""
    loss = InfoNCE(learned=True, reference_negatives=True, distractor_negatives=True)
    torch.manual_seed(7)
    embeddings = model(batch, with_reference=True, with_distractors=True, **settings)
    value = loss(embeddings, loss_batch or batch)["loss"]
    value.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.zero_grad(set_to_none=True)
    return value.detach(), gradients | {"log_logit_scale": loss.log_logit_scale.grad}


def test_embeddings_are_normalised_and_in_one_space(model, tiny_batch):
    embeddings = model(tiny_batch(5, num_distractors=3), with_reference=True, with_distractors=True)
    width = 32 if isinstance(model, Good4CIRComposer) else 16
    assert embeddings.query.shape == embeddings.target.shape == embeddings.reference.shape == (5, width)
    assert embeddings.distractors.shape == (3, width)
    assert embeddings.concepts is None
    for rows in (embeddings.query, embeddings.target, embeddings.reference, embeddings.distractors):
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(len(rows)))


def test_extra_images_are_embedded_only_when_asked_for(model, tiny_batch):
    embeddings = model(tiny_batch(2, num_distractors=3))
    assert embeddings.reference is None and embeddings.distractors is None


def test_training_and_evaluation_embed_alike(model, tiny_batch):
    batch = tiny_batch(4)
    trained = off_zero(model)(batch)
    queries, gallery = model.embed_queries(batch.reference, batch.text), model.embed_gallery(batch.target)
    torch.testing.assert_close(queries["model"], trained.query)
    torch.testing.assert_close(gallery["model"], trained.target)


def test_the_baselines_are_the_backbones_own_embeddings(model, tiny_batch):
    batch = tiny_batch(4)
    image = F.normalize(model.backbone.encode_image(batch.reference).embedding, dim=-1)
    text = F.normalize(model.backbone.encode_text(batch.text).embedding, dim=-1)
    queries, gallery = model.embed_queries(batch.reference, batch.text), model.embed_gallery(batch.reference)
    assert set(queries) == {"model", "sum", "image_only", "text_only"}
    torch.testing.assert_close(queries["image_only"], image)
    torch.testing.assert_close(queries["text_only"], text)
    torch.testing.assert_close(queries["sum"], F.normalize(image + text, dim=-1))
    torch.testing.assert_close(gallery["baseline"], image)


def test_pictures_or_texts_alone_have_their_own_baseline(model, tiny_batch):
    batch = tiny_batch(4)
    both = model.embed_queries(batch.reference, batch.text)
    pictures, texts = model.embed_queries(batch.reference, None), model.embed_queries(None, batch.text)
    assert set(pictures) == {"image_only"} and torch.equal(pictures["image_only"], both["image_only"])
    assert set(texts) == {"text_only"} and torch.equal(texts["text_only"], both["text_only"])


@pytest.mark.parametrize(
    ("kind", "freeze"),
    [
        (kind, freeze)
        for kind in COMPOSERS | VARIANTS
        for freeze in ("none", "vision", "text", "all")
        # Baselines have no parameters of their own: frozen, they leave nothing to train, and the system refuses them.
        if (kind, freeze) not in {("sum", "all"), ("image_only", "all"), ("text_only", "all"), ("image_only", "vision")}
    ],
)
def test_every_trainable_parameter_gets_a_gradient_and_no_other(tiny_backbone, tiny_batch, kind, freeze):
    """Distributed training waits for the gradient of every parameter that asks for one."""
    model = off_zero((COMPOSERS | VARIANTS)[kind](tiny_backbone(freeze=freeze)))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    batch = tiny_batch(4)
    embeddings = model(batch)
    InfoNCE()(embeddings, batch)["loss"].backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == trainable
    assert {
        name for name, parameter in model.named_parameters() if parameter.grad is not None and parameter.grad.any()
    } == trainable


@pytest.mark.parametrize("image_tokens", ["patches", "before_norm"])
@pytest.mark.parametrize("kind", ["context", "cross_attention"])
def test_attention_to_words_is_weights_of_patches(tiny_backbone, tiny_batch, kind, image_tokens):
    model = off_zero(COMPOSERS[kind](tiny_backbone(image_tokens=image_tokens))).double()
    batch = tiny_batch(4)
    image, text = model.backbone.encode_image(batch.reference), model.backbone.encode_text(batch.text)
    query, attention = model.compose_with_attention(image, text)
    torch.testing.assert_close(query, model.compose(image, text), rtol=0, atol=1e-12)
    assert model.attends_to_words and attention.shape == (4, 4, text.mask.shape[1])
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(4, 4).double(), rtol=0, atol=1e-12)
    assert torch.equal((attention > 0).all(dim=1), text.mask)


# ------------------------------------------------------------------------------------------- gradient caching


@pytest.mark.parametrize("micro_batch_size", [1, 3, 4])
def test_gradient_caching_equals_the_whole_batch(model, tiny_batch, micro_batch_size):
    model, batch = off_zero(model).double(), tiny_batch(8, num_distractors=5)
    whole = loss_and_gradients(model, batch)
    cached = loss_and_gradients(model, batch, micro_batch_size=micro_batch_size)
    torch.testing.assert_close(cached, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("num_distractors", [0, 1, 20])
def test_gradient_caching_takes_any_number_of_distractors(tiny_backbone, tiny_batch, num_distractors):
    model = off_zero(COMPOSERS["cross_attention"](tiny_backbone())).double()
    batch = tiny_batch(5, num_distractors=num_distractors)
    whole, cached = loss_and_gradients(model, batch), loss_and_gradients(model, batch, micro_batch_size=2)
    torch.testing.assert_close(cached, whole, rtol=0, atol=1e-10)
    embeddings = model(batch, 2, with_distractors=True).distractors
    assert (0 if embeddings is None else len(embeddings)) == num_distractors


def test_gradient_caching_in_float32_is_exact_to_1e_5(tiny_backbone, tiny_batch):
    model, batch = off_zero(COMPOSERS["cross_attention"](tiny_backbone())), tiny_batch(8, num_distractors=5)
    whole, cached = loss_and_gradients(model, batch), loss_and_gradients(model, batch, micro_batch_size=3)
    torch.testing.assert_close(cached, whole, rtol=0, atol=1e-5)


def test_gradient_caching_repeats_the_dropout_of_the_forward_pass(tiny_backbone, tiny_batch):
    """If the second pass drew anew, its gradient would not be the slope of the loss of the first."""
    model = off_zero(CrossAttentionComposer(tiny_backbone(freeze="all"), 2, 4, dropout=0.5)).double()
    batch, weight = tiny_batch(6), model.projection.weight

    def loss() -> torch.Tensor:
        torch.manual_seed(7)
        return InfoNCE()(model(batch, micro_batch_size=2), batch)["loss"]

    loss().backward()
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    step = 1e-5 * direction / direction.norm()
    with torch.no_grad():
        expected = (weight.grad * step).sum()
        weight.add_(step)
        above = loss()
        weight.sub_(2 * step)
        measured = (above - loss()) / 2
        model.eval()
        without_dropout = loss()
    torch.testing.assert_close(measured, expected, rtol=1e-5, atol=0)
    assert abs(without_dropout - above) > 1e-4


@pytest.mark.parametrize("micro_batch_size", [None, 2])
def test_activation_checkpointing_changes_no_gradient_of_a_model(tiny_backbone, tiny_batch, micro_batch_size):
    plain, checkpointed = (
        loss_and_gradients(
            off_zero(COMPOSERS["cross_attention"](tiny_backbone(activation_checkpointing=checkpointing))),
            tiny_batch(5, num_distractors=3),
            micro_batch_size=micro_batch_size,
        )
        for checkpointing in (False, True)
    )
    torch.testing.assert_close(checkpointed, plain, rtol=1e-4, atol=1e-5)  # two attention kernels, in float32


@pytest.mark.parametrize(("micro_batch_size", "calls"), [(None, 1), (8, 1), (100, 1), (3, 3), (1, 8)])
def test_each_tower_is_called_once_per_micro_batch(tiny_backbone, tiny_batch, monkeypatch, micro_batch_size, calls):
    model, batch, sizes = COMPOSERS["sum"](tiny_backbone()), tiny_batch(8, num_distractors=8), []
    encode_image = model.backbone.encode_image
    monkeypatch.setattr(
        model.backbone, "encode_image", lambda pixels: sizes.append(len(pixels)) or encode_image(pixels)
    )
    embeddings = model(batch, micro_batch_size, with_reference=True, with_distractors=True)
    assert len(sizes) == calls and sum(sizes) == 24 and max(sizes) <= 3 * min(micro_batch_size or 8, 8)
    embeddings.query.sum().backward()
    assert len(sizes) == (1 if calls == 1 else 2 * calls)  # once more in the backward pass


def test_without_gradient_nothing_is_computed_twice(tiny_backbone, tiny_batch):
    model, batch = COMPOSERS["cross_attention"](tiny_backbone()), tiny_batch(8)
    with torch.no_grad():
        pieces, whole = model(batch, 3), model(batch)
    torch.testing.assert_close(pieces.query, whole.query)
    assert pieces.query.grad_fn is None


# ------------------------------------------------------------------------------------------- cached features


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_features_stand_in_for_pixels_and_texts(tiny_backbone, tiny_batch, micro_batch_size):
    model = off_zero(COMPOSERS["cross_attention"](tiny_backbone(freeze="all"))).double()
    batch = tiny_batch(8, num_distractors=5)
    encode = model.backbone.encode_image
    features = replace(
        batch,
        reference=encode(batch.reference),
        target=encode(batch.target),
        distractors=encode(batch.distractors),
        text=model.backbone.encode_text(batch.text),
    )
    assert isinstance(features.reference, ImageFeatures)
    from_pixels = loss_and_gradients(model, batch)
    from_features = loss_and_gradients(model, features, micro_batch_size=micro_batch_size)
    torch.testing.assert_close(from_features, from_pixels, rtol=0, atol=1e-10)


# ------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("given", "kept"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_precision_is_raised_to_float32_and_never_lowered(given, kept):
    assert at_least_float32(torch.ones(1, dtype=given)).dtype == kept


def test_embeddings_leave_autocast_in_float32(model, tiny_batch):
    with torch.autocast("cpu", torch.bfloat16):
        embeddings: ContrastiveEmbeddings = model(tiny_batch(3))
    assert embeddings.query.dtype == embeddings.target.dtype == torch.float32
    torch.testing.assert_close(embeddings.query.norm(dim=-1), torch.ones(3))


def with_repeats(batch: TripletBatch) -> TripletBatch:
    """The batch with its first reference as the target of the second query, and as a distractor."""
    target, distractors = batch.target.clone(), batch.distractors.clone()
    target[1] = distractors[0] = batch.reference[0]
    target_keys, distractor_keys = batch.target_keys.clone(), batch.distractor_keys.clone()
    target_keys[1] = distractor_keys[0] = batch.reference_keys[0]
    return replace(
        batch, target=target, distractors=distractors, target_keys=target_keys, distractor_keys=distractor_keys
    )


def with_own_keys(batch: TripletBatch) -> TripletBatch:
    """The same pictures, every one under a key of its own."""
    keys = iter(range(10_000))
    own = {
        name: torch.tensor([next(keys) for _ in getattr(batch, name)])
        for name in ("reference_keys", "target_keys", "distractor_keys")
    }
    return replace(batch, **own)


@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_an_image_that_occurs_twice_is_encoded_once_with_the_same_gradients(model, tiny_batch, micro_batch_size):
    batch = with_repeats(tiny_batch(6, num_distractors=4))
    model = off_zero(model).double()
    plain, shared = (
        loss_and_gradients(model, one, batch, micro_batch_size=micro_batch_size)
        for one in (with_own_keys(batch), batch)
    )
    torch.testing.assert_close(shared[0], plain[0])
    for name, gradient in plain[1].items():
        torch.testing.assert_close(shared[1][name], gradient, msg=name)


def test_repeated_images_cost_nothing(tiny_backbone, tiny_batch, monkeypatch):
    model = COMPOSERS["cross_attention"](tiny_backbone())
    encoded = []
    encode = model.backbone.encode_image
    monkeypatch.setattr(model.backbone, "encode_image", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
    batch = with_repeats(tiny_batch(6, num_distractors=4))
    model(batch, with_distractors=True)
    model(with_own_keys(batch), with_distractors=True)
    assert encoded == [14, 16]


def test_the_values_of_the_keys_do_not_matter(model, tiny_batch):
    """Keys are hashes of paths: the same data in another folder gives the same gradients, to the bit."""
    batch = with_repeats(tiny_batch(6, num_distractors=4))
    other = replace(
        batch,
        **{name: 5000 - getattr(batch, name) for name in ("reference_keys", "target_keys", "distractor_keys")},
    )
    model = off_zero(model)
    (_, one), (_, two) = (loss_and_gradients(model, given, batch) for given in (batch, other))
    assert all(torch.equal(gradient, two[name]) for name, gradient in one.items())
