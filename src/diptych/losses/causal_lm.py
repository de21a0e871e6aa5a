"""Cross-entropy of a language model's next token, without ever holding the logits of all positions.

Shape letters: B rows, L tokens, N labelled tokens, C tokens of a chunk, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from diptych.parallel.devices import sent

_IGNORED = -100  # a token without label, see `FusionBatch`
On = Literal["completion", "all"]


class ChunkedCausalLMLoss(nn.Module):
    """Mean cross-entropy over the labelled tokens of a batch, from hidden states.

    Only positions whose next token has a label reach the head, at most `chunk_size` of them at a time: beside the
    hidden states' gradient, no more than `chunk_size` x V numbers are alive in forward or backward. Softmax and sums
    are float32 in any precision.

    `on` says which tokens the data gives a label: those of the `completion`, or `all` of an example but its very first,
    the prompt's too (as Beyond Vision's released code trains). Validation has the same.
    """

    def __init__(self, chunk_size: int = 256, on: On = "completion") -> None:
        super().__init__()
        if chunk_size < 1:
            raise ValueError(f"chunk_size={chunk_size} must be 1 or more")
        if on not in get_args(On):
            raise ValueError(f"on={on!r} is not one of {', '.join(get_args(On))}")
        self.chunk_size, self.on = chunk_size, on

    @property
    def wants(self) -> frozenset[str]:
        """`prompt_labels`, if prompts carry a loss."""
        return frozenset({"prompt_labels"} if self.on == "all" else ())

    def forward(
        self, hidden: Tensor, head: nn.Module, labels: Tensor, num_tokens: float | Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named terms: `loss`, and `tokens`, how many labelled tokens this batch has.

        `hidden` (B, L, D) is what `head`, the language model's output layer, turns into logits; `labels` (B, L) are
        the tokens themselves, or -100. The summed loss is divided by `num_tokens`; None takes this batch's own number.
        For gradients of a step that do not depend on how it is cut into micro-batches and ranks, give the number of the
        whole step: of all micro-batches and all ranks, divided by the number of ranks where gradients are averaged over
        them. A batch without labels has the loss 0.
        """
        predicting, predicted = select_labelled(hidden, labels)
        total = chunked_cross_entropy(predicting, predicted, head, self.chunk_size)
        return {
            "loss": total / (max(len(predicted), 1) if num_tokens is None else num_tokens),
            "tokens": torch.tensor(float(len(predicted))),  # on the host, where it is known
        }


def select_labelled(hidden: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states (N, D) from which a labelled token is predicted, and those tokens (N,), on one device. With labels
    on the host nothing is waited for.
    """
    rows, columns = (labels[:, 1:] != _IGNORED).nonzero(as_tuple=True)
    predicted = labels[rows, columns + 1]
    rows, columns, predicted = (sent(tensor, hidden.device) for tensor in (rows, columns, predicted))
    return hidden[rows, columns], predicted


def chunked_cross_entropy(hidden: Tensor, labels: Tensor, head: nn.Module, chunk_size: int) -> Tensor:
    """Sum of the cross-entropies of `labels` (N,) under the logits `head(hidden)`; `hidden` is (N, D), float32 sum."""
    if type(head) is nn.Linear:
        summed: Tensor = _LinearCrossEntropy.apply(
            hidden,
            labels,
            head.weight,
            head.bias,
            chunk_size,
            _compute_dtype(hidden, head.weight),
            torch.is_grad_enabled(),
        )
        return summed
    # A quantised or adapted head is called as it is; its logits are computed again in the backward pass.
    total = hidden.sum() * 0.0  # keeps the graph whole when nothing is labelled
    for start in range(0, len(labels), chunk_size):
        rows = slice(start, start + chunk_size)
        total = total + checkpoint(_summed, head, hidden[rows], labels[rows], use_reentrant=False)
    return total


def _summed(head: nn.Module, hidden: Tensor, labels: Tensor) -> Tensor:
    logits = head(hidden)
    return F.cross_entropy(logits.to(_precise(logits)), labels, reduction="sum")


def _compute_dtype(hidden: Tensor, weight: Tensor) -> torch.dtype:
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _precise(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


class _LinearCrossEntropy(torch.autograd.Function):
    """Both passes in one: the gradient of a chunk is taken while its logits are at hand.

    With z the logits of a row and y its label, d loss / d z = softmax(z) - onehot(y); the rest are matrix products.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        labels: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        chunk_size: int,
        dtype: torch.dtype,
        with_gradient: bool,
    ) -> Tensor:
        needs_hidden, _, needs_weight, needs_bias, *_ = (needed and with_gradient for needed in ctx.needs_input_grad)
        with torch.autocast(hidden.device.type, enabled=False):
            matrix, precise = weight.to(dtype), _precise(weight)
            grad_hidden = torch.empty_like(hidden, dtype=dtype) if needs_hidden else None
            grad_weight = torch.zeros_like(weight, dtype=precise) if needs_weight else None
            grad_bias = torch.zeros_like(bias, dtype=precise) if needs_bias and bias is not None else None
            total = hidden.new_zeros((), dtype=precise)
            # Buffers for all chunks: on the CPU, fresh memory of this size costs more than what is computed in it.
            product = hidden.new_empty((min(chunk_size, len(labels)), len(weight)), dtype=dtype)
            scratch = product if dtype == precise else torch.empty_like(product, dtype=precise)
            for start in range(0, len(labels), chunk_size):
                rows = slice(start, start + chunk_size)
                inputs, target = hidden[rows].to(dtype), labels[rows, None]
                logits = torch.mm(inputs, matrix.T, out=product[: len(target)])
                exponent = logits if dtype == precise else scratch[: len(target)].copy_(logits)
                if bias is not None:
                    exponent += bias.to(precise)
                exponent -= exponent.amax(dim=1, keepdim=True)
                total -= exponent.gather(1, target).sum()
                normaliser = exponent.exp_().sum(dim=1, keepdim=True)
                total += normaliser.log().sum()
                if not (needs_hidden or needs_weight or needs_bias):
                    continue
                exponent.scatter_add_(1, target, -normaliser)
                grad_logits = torch.div(exponent, normaliser, out=logits)
                if grad_hidden is not None:
                    torch.mm(grad_logits, matrix, out=grad_hidden[rows])
                if grad_weight is not None:
                    grad_weight += grad_logits.T @ inputs
                if grad_bias is not None:
                    grad_bias += grad_logits.sum(dim=0, dtype=precise)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        ctx.dtypes = hidden.dtype, weight.dtype, None if bias is None else bias.dtype
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [
            None if kept is None else (kept * gradient).to(dtype)
            for kept, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return scaled[0], None, scaled[1], scaled[2], None, None, None
