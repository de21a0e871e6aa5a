from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.losses.causal_lm import ChunkedCausalLMLoss, chunked_cross_entropy, select_labelled

WIDTH, VOCABULARY = 12, 40


def inputs(rows: int = 3, length: int = 17, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, length, WIDTH, generator=generator)
    labels = torch.randint(VOCABULARY, (rows, length), generator=generator)
    labels[torch.rand(rows, length, generator=generator) < 0.5] = -100
    return hidden, labels


def make_head(bias: bool = False, trained: bool = True) -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(WIDTH, VOCABULARY, bias=bias).requires_grad_(trained)


class OtherLinear(nn.Linear):
    """Stands for a quantised or adapted head: only its call is known."""


def plain(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    logits = head(hidden)[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def gradients(loss, hidden: Tensor, head: nn.Module) -> dict[str, Tensor]:
    hidden = hidden.clone().requires_grad_()
    head.zero_grad()
    value = loss(hidden)
    value.backward()
    found = {"loss": value.detach(), "hidden": hidden.grad}
    return found | {name: p.grad for name, p in head.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", [nn.Linear, OtherLinear])
@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_loss_and_gradients_are_those_of_the_plain_loss(chunk_size, kind, trained, bias):
    hidden, labels = inputs()
    head = make_head(bias, trained)
    head.__class__ = kind
    chunked = gradients(lambda h: ChunkedCausalLMLoss(chunk_size)(h, head, labels)["loss"], hidden, head)
    expected = gradients(lambda h: plain(h, head, labels), hidden, head)
    assert chunked.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(chunked[name], value, rtol=1e-5, atol=1e-7, msg=name)


def test_large_logits_do_not_overflow():
    hidden, labels = inputs()
    head = make_head()
    value = ChunkedCausalLMLoss(4)(hidden * 1000, head, labels)["loss"]
    torch.testing.assert_close(value, plain(hidden * 1000, head, labels), rtol=1e-5, atol=0)


def test_double_precision_stays_double():
    hidden, labels = inputs()
    head = make_head(bias=True).double()
    assert torch.autograd.gradcheck(
        lambda h, w, b: ChunkedCausalLMLoss(4)(h, with_weights(w, b), labels)["loss"],
        (hidden.double().requires_grad_(), head.weight, head.bias),
    )


def with_weights(weight: Tensor, bias: Tensor) -> nn.Linear:
    head = nn.Linear(WIDTH, VOCABULARY)
    del head.weight, head.bias
    head.weight, head.bias = weight, bias
    return head


def test_in_bf16_the_softmax_is_float32():
    """As near to the float32 loss as bf16 logits allow; its own sums and softmax add nothing to their rounding."""
    hidden, labels = inputs(rows=8, length=64)
    head = make_head().bfloat16()
    hidden = hidden.bfloat16()
    ours = ChunkedCausalLMLoss(32)(hidden, head, labels)["loss"]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, plain(hidden, head, labels), rtol=1e-5, atol=0)


def test_autocast_computes_logits_in_bf16_and_returns_float32_gradients():
    hidden, labels = inputs()
    head = make_head()

    def under_autocast(loss):
        def run(h):
            with torch.autocast("cpu", torch.bfloat16):
                return loss(h)

        return run

    chunked = gradients(under_autocast(lambda h: ChunkedCausalLMLoss(4)(h, head, labels)["loss"]), hidden, head)
    expected = gradients(under_autocast(lambda h: plain(h, head, labels)), hidden, head)
    for name, value in expected.items():
        assert chunked[name].dtype == torch.float32
        torch.testing.assert_close(chunked[name], value, rtol=0.05, atol=2e-3, msg=name)
    torch.testing.assert_close(chunked["loss"], expected["loss"], rtol=1e-5, atol=0)


def test_micro_batches_and_ranks_add_up_to_one_batch():
    hidden, labels = inputs(rows=6)
    head, loss = make_head(), ChunkedCausalLMLoss(4)
    tokens = float((labels[:, 1:] != -100).sum())
    whole = gradients(lambda h: loss(h, head, labels)["loss"], hidden, head)
    parts = gradients(
        lambda h: sum(loss(h[rows], head, labels[rows], tokens)["loss"] for rows in torch.arange(6).split(2)),
        hidden,
        head,
    )
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-7)


def test_what_it_wants_of_the_data():
    assert ChunkedCausalLMLoss().wants == frozenset()
    assert ChunkedCausalLMLoss(on="all").wants == {"prompt_labels"}
    with pytest.raises(ValueError, match="on='prompt' is not one of completion, all"):
        ChunkedCausalLMLoss(on="prompt")


def test_it_counts_its_labelled_tokens():
    hidden, labels = inputs()
    assert ChunkedCausalLMLoss()(hidden, make_head(), labels)["tokens"] == (labels[:, 1:] != -100).sum()


@pytest.mark.parametrize("kind", [nn.Linear, OtherLinear])
def test_without_labels_loss_and_gradient_are_zero(kind):
    hidden, labels = inputs()
    head = make_head()
    head.__class__ = kind
    found = gradients(lambda h: ChunkedCausalLMLoss()(h, head, torch.full_like(labels, -100))["loss"], hidden, head)
    assert found["loss"] == 0 and not found["hidden"].any()


def test_the_head_sees_labelled_positions_only_and_a_chunk_at_a_time():
    seen = []

    class Watched(OtherLinear):
        def forward(self, hidden: Tensor) -> Tensor:
            seen.append(len(hidden))
            return super().forward(hidden)

    hidden, labels = inputs()
    num_labelled = int((labels[:, 1:] != -100).sum())
    total = chunked_cross_entropy(*select_labelled(hidden, labels), Watched(WIDTH, VOCABULARY), 5)
    assert sum(seen) == num_labelled and max(seen) == 5
    assert total > 0


def test_no_gradient_is_computed_without_need():
    hidden, labels = inputs()
    with torch.no_grad():
        value = ChunkedCausalLMLoss()(hidden.requires_grad_(), make_head(), labels)["loss"]
    assert not value.requires_grad


def test_a_chunk_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^chunk_size=0"):
        ChunkedCausalLMLoss(0)
