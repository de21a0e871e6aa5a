"""The vision-language composer trains its adapter alone, in pieces as in one, and its checkpoints hold nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.retrieval import TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.vlm_adapter import Adapter, is_of_adapter
from diptych.models.composers.baseline_composers import BaselineComposer
from diptych.models.composers.vlm_composer import VLMComposer
from diptych.parallel import checkpoints
from tiny_vlms import FAMILIES, SIZES, pictures, save_tiny_vlm, tiny_vlm

pytestmark = pytest.mark.models

TEXTS = ["make the curtains green", "darker", "without the lamp", "two beds in the place of one", "a window", "empty"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ADAPTER = Adapter(rank=4, alpha=8.0, dropout=0.0)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory, tiny_chat_model):
    return save_tiny_vlm(tmp_path_factory.mktemp(family), tiny_chat_model, family)


@pytest.fixture
def model(folder, family):
    return moved_off_zero(VLMComposer(tiny_vlm(folder, family, ADAPTER)))


@pytest.fixture
def batch(family, model):
    number, size = len(TEXTS), SIZES[family]
    return TripletBatch(
        query_ids=tuple(f"q{n}" for n in range(number)),
        reference=pictures(number, size),
        target=pictures(number, size, seed=1),
        text=model.backbone.preprocessing.tokenize(TEXTS),
        reference_keys=torch.arange(number),
        target_keys=torch.arange(number) + 1000,
        distractors=pictures(3, size, seed=2),
        distractor_keys=torch.arange(3) + 2000,
    )


def moved_off_zero(model):
    """A fresh adapter's B is zero: nothing would reach its A, and nothing would be seen of it."""
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    return model


def loss_and_gradients(model, batch, **settings):
    loss = InfoNCE(learned=True, reference_negatives=True, distractor_negatives=True)
    model.zero_grad()
    torch.manual_seed(7)
    value = loss(model(batch, with_reference=True, with_distractors=True, **settings), batch)["loss"]
    value.backward()
    return value.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_training_and_evaluation_embed_alike(model, batch):
    with torch.no_grad():
        trained = model(batch, with_reference=True, with_distractors=True)
        queries = model.embed_queries(batch.reference, batch.text)
        gallery = model.embed_gallery(batch.target)
    torch.testing.assert_close(trained.query, queries["model"], **CLOSE)
    torch.testing.assert_close(trained.target, gallery["model"], **CLOSE)
    torch.testing.assert_close(trained.reference, queries["image_only"], **CLOSE)
    torch.testing.assert_close(trained.distractors, model.embed_gallery(batch.distractors)["model"], **CLOSE)
    torch.testing.assert_close(gallery["model"], gallery["baseline"])
    assert all((rows.norm(dim=1) - 1).abs().max() < 1e-5 for rows in queries.values())
    assert queries.keys() == {"model", "sum", "image_only", "text_only"}


def test_its_baselines_are_those_of_its_backbone(model, batch):
    of_backbone = BaselineComposer(model.backbone, "sum")
    with torch.no_grad():
        ours, theirs = (one.embed_queries(batch.reference, batch.text) for one in (model, of_backbone))
        alone = model.embed_queries(None, batch.text)
    for name in ("sum", "image_only", "text_only"):
        torch.testing.assert_close(ours[name], theirs[name], **CLOSE)
    torch.testing.assert_close(alone, {"text_only": ours["text_only"]})
    features = model.backbone.encode_image(batch.target)
    torch.testing.assert_close(model.embed_image(features), model.embed_gallery(batch.target)["model"], **CLOSE)


def test_gradients_reach_all_of_the_adapter_and_nothing_else_moves(model, batch):
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    _, gradients = loss_and_gradients(model, batch)
    assert gradients and all(is_of_adapter(name) and gradient.any() for name, gradient in gradients.items())
    assert gradients.keys() == {name for name in before if is_of_adapter(name)}
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert is_of_adapter(name) != torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("size", [1, 4])
def test_pieces_have_the_gradients_of_the_whole(model, batch, size):
    loss, gradients = loss_and_gradients(model, batch)
    in_pieces, of_pieces = loss_and_gradients(model, batch, micro_batch_size=size)
    torch.testing.assert_close(in_pieces, loss, **CLOSE)
    torch.testing.assert_close(of_pieces, gradients, **CLOSE)


def test_dropout_of_a_piece_is_the_same_when_it_is_computed_again(folder, family, batch):
    model = moved_off_zero(VLMComposer(tiny_vlm(folder, family, replace(ADAPTER, dropout=0.5)))).train()
    _, again = loss_and_gradients(model, batch, micro_batch_size=2)
    _, gradients = loss_and_gradients(model, batch, micro_batch_size=2)
    torch.testing.assert_close(again, gradients)
    assert any(
        not torch.equal(again[name], other) for name, other in loss_and_gradients(model.eval(), batch)[1].items()
    )


def test_layers_that_are_computed_again_have_the_same_gradients(folder, family, model, batch):
    other = VLMComposer(tiny_vlm(folder, family, ADAPTER, activation_checkpointing=True))
    other.load_state_dict(model.state_dict())
    expected, found = loss_and_gradients(model.train(), batch)[1], loss_and_gradients(other.train(), batch)[1]
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_picture_that_occurs_twice_is_seen_once(model, batch, monkeypatch):
    batch = replace(batch, target=batch.reference, target_keys=batch.reference_keys)
    seen = []
    look = model.backbone.look
    monkeypatch.setattr(model.backbone, "look", lambda pixels: seen.append(len(pixels)) or look(pixels))
    with torch.no_grad():
        embedded = model(batch, with_reference=True)
    assert seen == [len(TEXTS)]
    torch.testing.assert_close(embedded.target, embedded.reference)


def test_a_checkpoint_is_the_adapter_and_reads_back_to_the_same_embeddings(model, batch, folder, family, tmp_path):
    state = model.state_dict()
    assert state and all(is_of_adapter(name) for name in state)
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    other = VLMComposer(tiny_vlm(folder, family, ADAPTER))
    with torch.no_grad():
        expected, before = (one.embed_queries(batch.reference, batch.text)["model"] for one in (model, other))
        checkpoints.load_weights(other, torch.load(tmp_path / "a.ckpt", weights_only=True), tmp_path / "a.ckpt")
        torch.testing.assert_close(other.embed_queries(batch.reference, batch.text)["model"], expected)
    assert (before - expected).abs().max() > 1e-3


def test_another_adapters_checkpoint_is_refused(model, folder, family, tmp_path):
    state = {"state_dict": model.state_dict()}
    wider = VLMComposer(tiny_vlm(folder, family, replace(ADAPTER, rank=8)))
    with pytest.raises(ValueError, match="other shapes"):
        checkpoints.load_weights(wider, state, tmp_path)
    vision = VLMComposer(tiny_vlm(folder, family, replace(ADAPTER, vision=True)))
    with pytest.raises(ValueError, match=r"missing \['backbone.vlm.visual"):
        checkpoints.load_weights(vision, state, tmp_path)
    state["state_dict"].popitem()
    with pytest.raises(ValueError, match="missing"):
        checkpoints.load_weights(model, state, tmp_path)


def test_the_vision_tower_is_trained_where_it_is_asked_for(folder, family, batch):
    model = moved_off_zero(VLMComposer(tiny_vlm(folder, family, replace(ADAPTER, vision=True))))
    assert not model.backbone.vision_frozen
    _, gradients = loss_and_gradients(model, batch)
    assert all(gradient.any() for gradient in gradients.values())
    assert any(".visual." in name for name in gradients)
    torch.testing.assert_close(loss_and_gradients(model, batch, micro_batch_size=2)[1], gradients, **CLOSE)


@pytest.mark.parametrize("quantization", ["int8", "nf4"])
def test_the_adapter_of_a_quantised_model_is_trained_and_saved_alone(folder, family, batch, quantization):
    backbone = tiny_vlm(folder, family, ADAPTER, quantization=quantization, dtype="bfloat16")
    model = moved_off_zero(VLMComposer(backbone))
    assert model.stays_on_device and any(type(part).__name__.startswith("Linear") for part in model.modules())
    frozen = {name: p.detach().clone() for name, p in model.named_parameters() if not is_of_adapter(name)}
    assert any(weight.dtype in (torch.int8, torch.uint8) for weight in frozen.values())
    loss, gradients = loss_and_gradients(model, batch)
    assert loss.isfinite() and all(gradient.any() for gradient in gradients.values())
    assert all(is_of_adapter(name) for name in model.state_dict())
    other = VLMComposer(tiny_vlm(folder, family, ADAPTER, quantization=quantization, dtype="bfloat16"))
    checkpoints.load_weights(other, {"state_dict": model.state_dict()}, folder)
    with torch.no_grad():
        ours, theirs = (one.embed_queries(batch.reference, batch.text)["model"] for one in (model, other))
    torch.testing.assert_close(theirs, ours)
    assert all(torch.equal(p, frozen[name]) for name, p in model.named_parameters() if name in frozen)


def test_a_fresh_adapter_changes_nothing(folder, family, batch):
    with_one, without = VLMComposer(tiny_vlm(folder, family, ADAPTER)), VLMComposer(tiny_vlm(folder, family))
    assert with_one.rank == 4 and without.rank is None and not without.state_dict()
    with torch.no_grad():
        ours, theirs = (one.embed_queries(batch.reference, batch.text)["model"] for one in (with_one, without))
    torch.testing.assert_close(ours, theirs)


def test_what_it_cannot_do_is_said(model, tiny_backbone, batch):
    with pytest.raises(ValueError, match="wants a vision-language model"):
        VLMComposer(tiny_backbone())
    with pytest.raises(TypeError, match="call embed_queries"):
        model.compose(model.backbone.encode_image(batch.reference), model.backbone.encode_text(batch.text))


def test_a_step_of_training_helps(model, batch):
    loss = InfoNCE()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    values = []
    for _ in range(12):
        value = loss(model(batch, micro_batch_size=3), batch)["loss"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.7 * values[0]
    with torch.no_grad():
        found = F.normalize(model(batch).query) @ model(batch).target.T
    assert (found.argmax(dim=1) == torch.arange(len(TEXTS))).float().mean() > 0.5
