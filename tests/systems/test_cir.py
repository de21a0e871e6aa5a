"""The system's own wiring; whole runs are in test_train_evaluate."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

from diptych.contracts.retrieval import EvaluationProtocol, GalleryBatch, QueryBatch, RankedQuery
from diptych.losses.bank_info_nce import BankInfoNCE
from diptych.losses.concept_consistency import ConceptConsistency
from diptych.losses.info_nce import InfoNCE
from diptych.metrics.retrieval.measuring import measure
from diptych.metrics.retrieval.recall_at_k import RecallAtK
from diptych.models.composers.baseline_composers import BaselineComposer
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.systems.cir import CIRSystem
from diptych.systems.schedules import WarmupCosine
from diptych.systems.triplet_weights import TripletWeights
from own_metric import MeanRank


@pytest.fixture
def system(tiny_backbone, monkeypatch):
    model = CrossAttentionComposer(tiny_backbone(), num_layers=1, num_heads=2, dropout=0.5)
    system = CIRSystem(model, InfoNCE(reference_negatives=True), {}, partial(torch.optim.AdamW, lr=1e-3))
    system.logged = {}
    monkeypatch.setattr(system, "log_dict", lambda values, **_: system.logged.update(values))
    monkeypatch.setattr(system, "log", lambda name, value, **_: system.logged.update({name: value}))
    return system


def test_a_step_logs_every_term_of_the_loss(system, tiny_batch):
    batch = tiny_batch(6)
    loss = system.training_step(replace(batch, text=replace(batch.text, num_truncated=2)), 0)
    assert loss.requires_grad and system.logged["train/loss"] == loss
    assert {"train/loss", "train/temperature", "train/truncated_texts"} <= system.logged.keys()
    assert system.logged["train/truncated_texts"] == 2.0


def test_the_randomness_of_a_step_is_its_own(system, tiny_batch):
    """What a resumed run repeats: dropout is a function of seed and step, whatever was drawn before."""
    torch.nn.init.ones_(system.model.projection.weight)

    def loss_of(step):
        torch.rand(3)
        batch = tiny_batch(6)
        system.on_train_batch_start(batch, step)
        return system.training_step(batch, step).item()

    assert loss_of(3) == loss_of(3) != loss_of(4)


def test_a_loss_that_is_not_finite_names_the_queries(system, tiny_batch, monkeypatch):
    monkeypatch.setattr(CIRSystem, "global_step", property(lambda self: 7))
    monkeypatch.setattr(system.loss, "forward", lambda *_: {"loss": torch.tensor(float("inf"))})
    with pytest.raises(ValueError, match=r"the loss is inf at step 7; queries of the batch: q0, q1"):
        system.training_step(tiny_batch(2), 0)


def test_everything_trainable_is_optimized_and_the_temperature_not_decayed(tiny_backbone):
    model = CrossAttentionComposer(tiny_backbone(freeze="vision"), num_layers=1, num_heads=2)
    optimizer = partial(torch.optim.AdamW, weight_decay=0.1)
    system = CIRSystem(model, InfoNCE(learned=True), {}, optimizer, partial(WarmupCosine, total_steps=10))
    configured = system.configure_optimizers()
    groups = configured["optimizer"].param_groups
    optimized = {id(parameter) for group in groups for parameter in group["params"]}
    assert optimized == {id(parameter) for parameter in system.parameters() if parameter.requires_grad}
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0] and len(groups[1]["params"]) == 1
    assert configured["lr_scheduler"]["interval"] == "step"


class Constant(torch.nn.Module):
    """A loss that is its own parameter."""

    wants = frozenset({"distractors"})

    def __init__(self):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, embeddings, batch):
        return {"loss": self.value * 3, "half": self.value * 1.5}


def test_auxiliary_losses_are_added_and_logged_under_their_names(system, tiny_batch):
    batch = tiny_batch(6)
    system.on_train_batch_start(batch, 0)
    alone = system.training_step(batch, 0)
    system.auxiliary_losses["constant"] = Constant()
    assert system.wants == {"reference", "distractors"}
    system.on_train_batch_start(batch, 0)
    loss = system.training_step(batch, 0)
    torch.testing.assert_close(loss, alone + 6)
    assert system.logged["train/loss"] == loss
    assert system.logged["train/constant"] == 6 and system.logged["train/constant_half"] == 3
    loss.backward()
    value = system.auxiliary_losses["constant"].value
    assert value.grad == 3
    optimizer = system.configure_optimizers()["optimizer"]
    (group,) = (group for group in optimizer.param_groups if any(value is one for one in group["params"]))
    assert group["weight_decay"] == 0


def test_a_composer_without_attention_is_refused_before_it_is_trained(tiny_backbone):
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    model = BaselineComposer(tiny_backbone(), "sum")
    losses = {"concept_consistency": ConceptConsistency()}
    with pytest.raises(ValueError, match="this composer does not show: choose system/model=context or cross_attention"):
        CIRSystem(model, InfoNCE(), {}, optimizer, auxiliary_losses=losses)
    off = {"concept_consistency": ConceptConsistency(weight=0)}
    assert CIRSystem(model, InfoNCE(), {}, optimizer, auxiliary_losses=off).wants == frozenset()


def test_weights_by_each_loss_want_a_loss_that_tells_them(system):
    with pytest.raises(ValueError, match="leave one of them out"):
        CIRSystem(system.model, BankInfoNCE(), {}, partial(torch.optim.AdamW, lr=1e-3), noise=TripletWeights())


def test_a_model_without_trainable_parameters_is_refused(system):
    system.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        system.configure_optimizers()


def test_rows_come_back_in_the_order_of_the_set_and_missing_ones_are_an_error(system, tiny_batch):
    system.eval()
    batch = tiny_batch(4)
    system.on_validation_epoch_start()
    with torch.no_grad():
        whole = system.model.embed_queries(batch.reference, batch.text)["model"]
        for rows in ([2, 0], [3, 1]):  # as two ranks, or a shuffled loader, would bring them
            text = replace(batch.text, input_ids=batch.text.input_ids[rows], mask=batch.text.mask[rows])
            system.validation_step(QueryBatch(torch.tensor(rows), batch.reference[rows], text, 1), 0, 0)
            system.validation_step(GalleryBatch(torch.tensor(rows), batch.target[rows], 1), 0, 1)
    system._collect()
    gathered = system._gathered(system._collected[1], 4, 4)
    torch.testing.assert_close(gathered["queries/model"], whole)
    with pytest.raises(ValueError, match="4"):
        system._gathered(system._collected[1], 5, 4)


def test_it_says_where_the_best_of_a_logged_metric_lies(system):
    protocol = EvaluationProtocol("p", 1, "", False, "{text}", "", (1,), aspect_metrics=("mean_rank",))
    ranked = [RankedQuery("q", ("a",), (1.0,), 1, (1,), 1, aspects=("x",))]
    for name in ("dress", "shirt"):
        metrics = {"own": MeanRank(), "recall": RecallAtK()}
        system.results.append(measure(name, protocol, (), ranked, metrics, with_bounds=False))
    keys = ("val/mean_rank", "val/shirt/mean_rank/x", "val/recall_at_1")
    assert [system.mode_of(key) for key in keys] == ["min", "min", "max"]
    with pytest.raises(ValueError, match=r"val/other does not say .*callbacks\.checkpointing\.mode"):
        system.mode_of("val/other")


@pytest.mark.slow
@pytest.mark.parametrize(("micro_batch_size", "checkpointing"), [(None, False), (4, True)])
def test_compiled_layers_give_the_gradients_of_others(
    tiny_backbone, tiny_batch, monkeypatch, micro_batch_size, checkpointing
):
    compiled = []

    def backend(graph, inputs):
        compiled.append(len(graph.graph.nodes))
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    gradients = {}
    for compile in (False, True):
        torch._dynamo.reset()
        model = CrossAttentionComposer(tiny_backbone(activation_checkpointing=checkpointing), 2, num_heads=2)
        torch.nn.init.ones_(model.projection.weight)
        names = list(model.state_dict())
        arguments = {"micro_batch_size": micro_batch_size, "compile": compile}
        system = CIRSystem(model, InfoNCE(), {}, partial(torch.optim.AdamW, lr=1e-3), **arguments)
        monkeypatch.setattr(system, "log_dict", lambda *_, **__: None)
        monkeypatch.setattr(system, "log", lambda *_, **__: None)
        system.training_step(tiny_batch(8), 0).backward()
        assert list(model.state_dict()) == names
        assert bool(compiled) == compile
        gradients[compile] = {name: p.grad for name, p in system.named_parameters() if p.grad is not None}
    assert len(compiled) >= 3  # an image layer, a text layer, a layer of the composer
    torch.testing.assert_close(gradients[True], gradients[False], rtol=1e-5, atol=1e-6)
