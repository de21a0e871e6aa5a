"""The softmax over a bank is the plain one over the same candidates, in blocks of any size, on any number of ranks."""

from __future__ import annotations

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from diptych.contracts.models import TextTokens
from diptych.contracts.retrieval import ContrastiveEmbeddings, TargetBank, TripletBatch
from diptych.losses import bank_info_nce
from diptych.losses.bank_info_nce import BankInfoNCE, log_sum_exp
from diptych.losses.info_nce import InfoNCE

NUM_IMAGES, WIDTH = 23, 6
TARGETS, REFERENCES = (3, 17, 3, 20), (5, 6, 7, 3)


def unit(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def bank_of(answers=None, dtype: torch.dtype = torch.float64) -> TargetBank:
    """Image number n has the key 100 + n and stands in row n."""
    rows = {100 + row: row for row in range(NUM_IMAGES)}
    return TargetBank(unit(NUM_IMAGES, WIDTH, dtype=dtype), rows, answers or {})


def batch_of(bank: TargetBank | None, part: slice = slice(None)) -> TripletBatch:
    return TripletBatch(
        query_ids=tuple("abcd"[part]),
        reference=torch.empty(0),
        target=torch.empty(0),
        text=TextTokens(torch.empty(0), torch.empty(0)),
        reference_keys=torch.tensor([100 + row for row in REFERENCES[part]]),
        target_keys=torch.tensor([100 + row for row in TARGETS[part]]),
        bank=bank,
    )


def of_bank(loss, answers=None, dtype=torch.float64, part: slice = slice(None)):
    """The loss' terms, and the gradient of each query and of the logarithm of the temperature's inverse."""
    bank = bank_of(answers, dtype)
    queries = unit(4, WIDTH, seed=1, dtype=dtype)[part].requires_grad_()
    targets = bank.embeddings[list(TARGETS[part])]
    terms = loss(ContrastiveEmbeddings(queries, targets), batch_of(bank, part))
    terms["loss"].backward()
    return terms, queries.grad, loss.log_logit_scale.grad


def plainly(left_out, log_scale, dtype=torch.float64):
    """Cross-entropy over the logits of all images at once, without those that a query leaves out."""
    queries = unit(4, WIDTH, seed=1, dtype=dtype).requires_grad_()
    log_scale = log_scale.detach().to(dtype).clone().requires_grad_()
    logits = log_scale.exp() * queries @ bank_of(dtype=dtype).embeddings.T
    for query, rows in enumerate(left_out):
        logits = logits.masked_fill(F.one_hot(torch.tensor(query), 4).bool()[:, None] & members(rows), -torch.inf)
    loss = F.cross_entropy(logits, torch.tensor(TARGETS))
    loss.backward()
    return loss.detach(), queries.grad, log_scale.grad


def members(rows) -> torch.Tensor:
    return torch.tensor([row in rows for row in range(NUM_IMAGES)])


ANSWERS = {("a", 105): (1, 2), ("d", 103): (22,), ("b", 999): (9,)}
KNOWN = ((1, 2), (), (), (22,))
OWN = tuple((row,) for row in REFERENCES)


@pytest.mark.parametrize("block_size", [1, 7, 23, 8192])
@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"reference_negatives": True, "mask_duplicates": False}, ((),) * 4),
        ({"reference_negatives": True}, KNOWN),
        ({"mask_duplicates": False}, OWN),
        ({}, tuple(one + other for one, other in zip(KNOWN, OWN, strict=True))),
    ],
    ids=["all images", "without known answers", "without the reference", "without either"],
)
def test_it_is_the_plain_softmax_over_the_same_candidates(settings, left_out, block_size, monkeypatch):
    monkeypatch.setattr(bank_info_nce, "_BLOCK", block_size)
    loss = BankInfoNCE(learned=True, **settings).double()
    terms, *gradients = of_bank(loss, ANSWERS)
    expected, *plain_gradients = plainly(left_out, loss.log_logit_scale)
    torch.testing.assert_close(terms["loss"].detach(), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients, plain_gradients, rtol=0, atol=1e-12)
    assert terms["negatives_per_query"] == NUM_IMAGES - 1 - sum(map(len, left_out)) / 4


def test_in_single_precision_it_is_the_plain_one_to_five_digits(monkeypatch):
    monkeypatch.setattr(bank_info_nce, "_BLOCK", 5)
    loss = BankInfoNCE(0.01, learned=True)
    terms, *gradients = of_bank(loss, dtype=torch.float32)
    expected, *plain_gradients = plainly(OWN, loss.log_logit_scale, torch.float32)
    torch.testing.assert_close(terms["loss"].detach(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients, plain_gradients, rtol=1e-5, atol=1e-5)


def test_gathered_in_batch_negatives_are_a_bank_of_the_batch():
    """Where the bank is the batch's targets, its loss is that half of the plain one which compares queries."""
    bank, queries = bank_of(), unit(4, WIDTH, seed=1)
    rows = (3, 17, 8, 20)
    small = TargetBank(bank.embeddings[list(rows)], {100 + row: place for place, row in enumerate(rows)}, {})
    batch = batch_of(small)
    keys = torch.tensor([100 + row for row in rows])
    object.__setattr__(batch, "target_keys", keys)
    embeddings = ContrastiveEmbeddings(queries, small.embeddings)
    terms, plain = BankInfoNCE(reference_negatives=True)(embeddings, batch), InfoNCE()(embeddings, batch)
    torch.testing.assert_close(terms["loss"], plain["query_to_target"])


def test_the_mean_of_the_ranks_is_the_whole_batch():
    """Ranks exchange nothing but the gradients, which training averages."""
    loss = BankInfoNCE(learned=True).double()
    whole, gradient, of_scale = of_bank(loss, ANSWERS)
    parts = []
    for part in (slice(0, 2), slice(2, 4)):
        loss.zero_grad()
        parts.append(of_bank(loss, ANSWERS, part=part))
    values, gradients, scales = zip(*parts, strict=True)
    torch.testing.assert_close(sum(value["loss"] for value in values) / 2, whole["loss"])
    torch.testing.assert_close(torch.cat(gradients) / 2, gradient)
    torch.testing.assert_close(sum(scales) / 2, of_scale)


def test_what_is_kept_for_the_backward_pass_does_not_grow_with_the_bank():
    """Of a bank of any size: queries, scale, rows that are left out and one number a query. The bank is not a copy."""
    kept = []
    for size in (64, 6400):
        bank, elements = unit(size, WIDTH), []
        queries, scale = unit(4, WIDTH, seed=1).requires_grad_(), torch.tensor(10.0, dtype=torch.float64)

        def note(tensor, bank=bank, elements=elements):
            elements.append(0 if tensor.data_ptr() == bank.data_ptr() else tensor.numel())
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            total = log_sum_exp(queries, scale, bank, torch.full((4, 1), -1), 32)
        total.sum().backward()
        kept.append(sum(elements))
    assert kept[0] == kept[1] == 4 * WIDTH + 1 + 4 + 4


def test_what_cannot_be_compared_is_refused():
    embeddings = ContrastiveEmbeddings(unit(4, WIDTH), unit(4, WIDTH))
    with pytest.raises(ValueError, match=r"data/training=features .*feature_cache=DIR .*freeze=all"):
        BankInfoNCE()(embeddings, batch_of(None))
    lacking = TargetBank(unit(2, WIDTH), {103: 0, 117: 1}, {})
    with pytest.raises(ValueError, match="a target is not in the bank"):
        BankInfoNCE()(embeddings, batch_of(lacking))
