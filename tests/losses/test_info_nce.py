from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diptych.contracts.models import TextTokens
from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.losses.info_nce import InfoNCE


def make(
    target_keys: list[int],
    reference_keys: list[int] | None = None,
    distractor_keys: list[int] | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[ContrastiveEmbeddings, TripletBatch]:
    """Random unit vectors; images with equal keys share their embedding, as they do in truth."""
    torch.manual_seed(0)
    size = len(target_keys)
    images = {
        key: F.normalize(torch.randn(6, dtype=dtype), dim=0)
        for key in sorted({*target_keys, *(reference_keys or []), *(distractor_keys or [])})
    }

    def rows(keys: list[int] | None) -> torch.Tensor | None:
        return None if keys is None else torch.stack([images[key] for key in keys])

    embeddings = ContrastiveEmbeddings(
        query=F.normalize(torch.randn(size, 6, dtype=dtype), dim=-1).requires_grad_(),
        target=rows(target_keys).requires_grad_(),
        reference=rows(reference_keys),
        distractors=rows(distractor_keys),
    )
    batch = TripletBatch(
        query_ids=tuple(map(str, range(size))),
        reference=torch.empty(0),
        target=torch.empty(0),
        text=TextTokens(torch.empty(0), torch.empty(0)),
        reference_keys=torch.tensor(reference_keys or [-1] * size),
        target_keys=torch.tensor(target_keys),
        distractors=None if distractor_keys is None else torch.empty(0),
        distractor_keys=None if distractor_keys is None else torch.tensor(distractor_keys),
    )
    return embeddings, batch


def plain(query: np.ndarray, candidates: np.ndarray, allowed: list[set[int]], temperature: float) -> float:
    """-log of the softmax of the right candidate, number i for query i, among the allowed ones; their mean."""
    losses = []
    for row, negatives in enumerate(allowed):
        cosines = {column: math.exp(query[row] @ candidates[column] / temperature) for column in {row, *negatives}}
        losses.append(-math.log(cosines[row] / sum(cosines.values())))
    return float(np.mean(losses))


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy()


def others(size: int) -> list[set[int]]:
    return [set(range(size)) - {row} for row in range(size)]


def test_against_the_plain_formula():
    embeddings, batch = make([10, 11, 12, 13, 14])
    query, target = array(embeddings.query), array(embeddings.target)
    forth, back = plain(query, target, others(5), 0.07), plain(target, query, others(5), 0.07)
    terms = InfoNCE(temperature=0.07)(embeddings, batch)
    assert terms["query_to_target"].item() == pytest.approx(forth, rel=1e-6)
    assert terms["target_to_query"].item() == pytest.approx(back, rel=1e-6)
    assert terms["loss"].item() == pytest.approx((forth + back) / 2, rel=1e-6)
    assert terms["negatives_per_query"] == 4 and terms["temperature"].item() == pytest.approx(0.07)
    assert set(terms) == {"loss", "query_to_target", "target_to_query", "temperature", "negatives_per_query"}


def test_a_hand_written_case():
    """Queries and targets along the axes, temperature 1: log(1 + 1/e) in both directions."""
    axes = torch.eye(2, dtype=torch.float64)
    _, batch = make([1, 2])
    terms = InfoNCE(temperature=1.0)(ContrastiveEmbeddings(axes, axes), batch)
    assert terms["loss"].item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-12)


def test_it_is_symmetric():
    embeddings, batch = make([10, 11, 12, 13])
    swapped = ContrastiveEmbeddings(embeddings.target, embeddings.query)
    one, other = InfoNCE()(embeddings, batch), InfoNCE()(swapped, batch)
    torch.testing.assert_close(one["loss"], other["loss"])
    torch.testing.assert_close(one["query_to_target"], other["target_to_query"])


def test_the_same_target_twice_is_never_a_negative():
    embeddings, batch = make([10, 11, 10, 12])
    allowed = [{1, 3}, {0, 2, 3}, {1, 3}, {0, 1, 2}]
    query, target = array(embeddings.query), array(embeddings.target)
    terms = InfoNCE()(embeddings, batch)
    expected = (plain(query, target, allowed, 0.07) + plain(target, query, allowed, 0.07)) / 2
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert terms["negatives_per_query"].item() == (2 + 3 + 2 + 3) / 4
    terms["loss"].backward()
    assert embeddings.query.grad.isfinite().all() and embeddings.target.grad.isfinite().all()


def test_a_batch_of_one_target_has_no_negatives_and_no_loss():
    embeddings, batch = make([10, 10, 10])
    terms = InfoNCE()(embeddings, batch)
    assert terms["loss"].item() == 0 and terms["negatives_per_query"] == 0
    terms["loss"].backward()
    assert not embeddings.query.grad.any()


def test_references_and_distractors_are_negatives_except_the_query_s_own_target():
    """Candidates: targets 0-2, references 3-5, distractors 6-7. Target 11 is also a reference and a distractor."""
    embeddings, batch = make([10, 11, 12], reference_keys=[20, 21, 11], distractor_keys=[11, 30])
    query, target = array(embeddings.query), array(embeddings.target)
    candidates = np.concatenate([target, array(embeddings.reference), array(embeddings.distractors)])
    allowed = [{1, 2, 3, 4, 5, 6, 7}, {0, 2, 3, 4, 7}, {0, 1, 3, 4, 5, 6, 7}]
    terms = InfoNCE(reference_negatives=True, distractor_negatives=True)(embeddings, batch)
    assert terms["query_to_target"].item() == pytest.approx(plain(query, candidates, allowed, 0.07), rel=1e-6)
    assert terms["target_to_query"].item() == pytest.approx(plain(target, query, others(3), 0.07), rel=1e-6)
    assert terms["negatives_per_query"].item() == pytest.approx((7 + 5 + 7) / 3)


@pytest.mark.parametrize(
    ("settings", "negatives"),
    [
        ({}, 2),
        ({"reference_negatives": True}, 5),
        ({"distractor_negatives": True}, 6),
        ({"reference_negatives": True, "distractor_negatives": True}, 9),
        ({"gather_negatives": False}, 2),
    ],
)
def test_the_log_shows_the_true_number_of_negatives(settings, negatives):
    embeddings, batch = make([10, 11, 12], reference_keys=[20, 21, 22], distractor_keys=[30, 31, 32, 33])
    assert InfoNCE(**settings)(embeddings, batch)["negatives_per_query"] == negatives


@pytest.mark.parametrize("missing", ["reference", "distractor"])
def test_negatives_that_were_not_embedded_are_an_error(missing):
    _, batch = make([10, 11], reference_keys=[20, 21], distractor_keys=[30])
    embeddings, _ = make([10, 11])
    with pytest.raises(ValueError, match=rf"^{missing}_negatives=true, but the batch was embedded without"):
        InfoNCE(**{f"{missing}_negatives": True})(embeddings, batch)


def test_a_batch_may_have_no_distractors():
    embeddings, batch = make([10, 11, 12])
    assert InfoNCE(distractor_negatives=True)(embeddings, batch)["negatives_per_query"] == 2


# ------------------------------------------------------------------------------------------- temperature


def test_a_fixed_temperature_is_no_parameter_and_not_in_the_checkpoint():
    loss = InfoNCE(temperature=0.1)
    assert not list(loss.parameters()) and not loss.state_dict()
    assert loss.logit_scale.item() == pytest.approx(10)


def test_a_learned_temperature_has_the_slope_of_the_loss():
    loss, (embeddings, batch) = InfoNCE(temperature=0.2, learned=True).double(), make([10, 11, 12])
    loss(embeddings, batch)["loss"].backward()
    values = []
    for shift in (1e-5, -2e-5):
        with torch.no_grad():
            loss.log_logit_scale.add_(shift)
        values.append(loss(embeddings, batch)["loss"].item())
    assert loss.log_logit_scale.grad.item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


def test_a_learned_temperature_stays_in_bounds_and_can_come_back():
    """Clamped in the graph it would get no gradient there, and stay at the bound for good."""
    loss, (embeddings, batch) = InfoNCE(temperature=0.0101, learned=True), make([10, 11, 12], dtype=torch.float32)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    with torch.no_grad():
        loss.log_logit_scale.fill_(6.0)
    terms = loss(embeddings, batch)
    assert terms["temperature"].item() == pytest.approx(0.01, rel=1e-5)
    terms["loss"].backward()
    assert loss.log_logit_scale.grad > 0  # these random queries are mostly wrong: a softer loss is a lower one
    optimizer.step()
    assert loss(embeddings, batch)["temperature"] > 0.0101


@pytest.mark.parametrize("temperature", [0.0, -1.0, 0.009])
def test_a_temperature_where_training_diverges_is_refused(temperature):
    with pytest.raises(ValueError, match="^temperature="):
        InfoNCE(temperature=temperature)


# ------------------------------------------------------------------------------------------- precision


def test_the_loss_is_computed_in_float32_under_autocast():
    embeddings, batch = make([10, 11, 12, 13], dtype=torch.float32)
    expected = InfoNCE()(embeddings, batch)["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        actual = InfoNCE()(embeddings, batch)["loss"]
    assert actual.dtype == torch.float32 and torch.equal(actual, expected)


def test_half_precision_embeddings_are_raised_to_float32():
    embeddings, batch = make([10, 11, 12, 13], dtype=torch.bfloat16)
    as_float32 = ContrastiveEmbeddings(embeddings.query.float(), embeddings.target.float())
    assert torch.equal(InfoNCE()(embeddings, batch)["loss"], InfoNCE()(as_float32, batch)["loss"])


def test_float64_stays_float64():
    assert InfoNCE().double()(*make([10, 11]))["loss"].dtype == torch.float64


def weighed(weights: list[float], dtype: torch.dtype = torch.float64) -> tuple[ContrastiveEmbeddings, TripletBatch]:
    embeddings, batch = make([10, 11, 12, 10, 14], reference_keys=[20, 21, 22, 23, 24], dtype=dtype)
    return embeddings, replace(batch, weights=torch.tensor(weights, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_of_weights_of_one_loss_and_gradients_are_the_plain_ones_bit_for_bit(dtype):
    loss = InfoNCE(reference_negatives=True, learned=True)
    found = []
    for one in (True, False):
        embeddings, batch = weighed([1.0] * 5, dtype)
        terms = loss(embeddings, batch if one else replace(batch, weights=None))
        found.append((terms["loss"], *torch.autograd.grad(terms["loss"], [embeddings.query, embeddings.target])))
        assert ("per_triplet" in terms) is one
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_triplets_loss_counts_by_its_weight():
    """Loss and gradients against each triplet's own cross-entropies; those of no weight are negatives all the same."""
    weights = [1.0, 0.0, 0.5, 0.25, 1.0]
    embeddings, batch = weighed(weights)
    terms = InfoNCE(temperature=0.07)(embeddings, batch)
    again, plain_batch = weighed(weights)
    logits = again.query @ again.target.T / 0.07
    logits[0, 3] = logits[3, 0] = -torch.inf  # one image
    each = -(logits.log_softmax(1).diag() + logits.T.log_softmax(1).diag()) / 2
    assert plain_batch.weights is not None
    by_hand = (each * plain_batch.weights).mean()
    torch.testing.assert_close(terms["loss"], by_hand, rtol=1e-6, atol=0)
    torch.testing.assert_close(terms["per_triplet"][:, 0], each.detach(), rtol=1e-6, atol=0)
    margins = (again.query * (again.target - again.reference)).sum(dim=1) / 0.07
    torch.testing.assert_close(terms["per_triplet"][:, 1].double(), margins.sigmoid().detach(), rtol=1e-5, atol=0)
    for name in ("query", "target"):
        gradients = [
            torch.autograd.grad(loss, getattr(of, name), retain_graph=True)[0]
            for loss, of in ((terms["loss"], embeddings), (by_hand, again))
        ]
        torch.testing.assert_close(*gradients, rtol=0, atol=1e-6)
