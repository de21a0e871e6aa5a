"""Causal attention of examples that share a row, each by itself, as an attention function of transformers.

A row of T tokens holds S examples one after the other, without pads. transformers hands a mask of four dimensions on
to the attention function unseen; here it is no mask but the examples' lengths, int64 (1, 1, 1, S). Any other mask, as
in generation, goes to transformers' own `sdpa`.

Shape letters: T tokens, S examples, L tokens of an example, R of a block, H query heads, K key heads, G = H / K,
E head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from diptych.parallel.devices import sent
from diptych.parallel.private_parts import softmax_backward

EXAMPLE_ATTENTION = "example_attention"
# Queries whose weights exist at a time, with keys up to the block's end: small enough to skip most of the upper
# triangle, large enough for fast matrix products.
_BLOCK = 128


def lengths_as_mask(lengths: Sequence[int]) -> Tensor:
    """What to pass as `attention_mask` to a model loaded with `attn_implementation=EXAMPLE_ATTENTION`."""
    return torch.tensor(lengths).view(1, 1, 1, -1)


def ends_of_examples(lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    """What to pass to such a model beside the mask, once for all of its layers: on a GPU where the examples end."""
    if device.type != "cuda":
        return {}
    ends = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32)
    return {"cu_seq_lens_q": sent(ends, device), "max_length_q": max(lengths)}


def example_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of queries (1, H, T, E) to keys and values (1, K, T, E): (1, T, H, E), and no weights.

    Raises:
        ValueError: the model wants something of its attention that is not done per example (a soft cap, sinks).
    """
    if attention_mask is None or attention_mask.dtype != torch.long:
        kwargs["sliding_window"] = sliding_window
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    wanted = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if wanted:
        raise ValueError(f"{type(module).__name__} needs {wanted[0]} in its attention, which packed training has not")
    lengths = attention_mask.flatten().tolist()
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    short_window = sliding_window is not None and sliding_window < max(lengths)
    if query.device.type == "cpu" and not (dropout or short_window):
        # Under autocast the rotated queries and keys are float32 and the values are not.
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else value.dtype
        with torch.autocast("cpu", enabled=False):
            output = _PlainAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scaling, lengths)
        return output, None
    if cu_seq_lens_q is not None and max_length_q is not None and not dropout and _has_flash(query.device, value.dtype):
        q, k, v = (part[0].transpose(0, 1).to(value.dtype) for part in (query, key, value))  # (T, heads, E)
        window = sliding_window if short_window else None
        output = _flash_attention(q, k, v, cu_seq_lens_q, max_length_q, scaling, window)
        return output[None], None
    outputs = []
    for q, k, v in zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True):
        mask = _window_mask(q.shape[2], sliding_window, q.device) if short_window else None
        outputs.append(
            F.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=q.shape[1] != k.shape[1]
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def mask_unasked(*args: Any, attention_mask: Tensor | None = None, **settings: Any) -> Tensor | None:
    """transformers' mask of a generation. Whether it hides anything at all is not asked of a GPU, for which the host
    would wait at every token.
    """
    if attention_mask is not None and attention_mask.is_cuda:
        settings["allow_is_causal_skip"] = False
    return sdpa_mask(*args, attention_mask=attention_mask, **settings)


AttentionInterface.register(EXAMPLE_ATTENTION, example_attention)
AttentionMaskInterface.register(EXAMPLE_ATTENTION, mask_unasked)


def _has_flash(device: torch.device, dtype: torch.dtype) -> bool:
    return dtype != torch.float32 and torch.cuda.get_device_capability(device) >= (8, 0)


def _flash_attention(
    query: Tensor, key: Tensor, value: Tensor, ends: Tensor, longest: int, scaling: float, window: int | None
) -> Tensor:
    """Causal attention of (T, H, E) to (T, K, E) within examples, in one kernel: (T, H, E). torch would prefer cuDNN's,
    which builds a plan for every new shape.
    """
    before = -1 if window is None else window - 1
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        output = varlen_attn(
            query, key, value, ends, ends, longest, longest, scale=scaling, window_size=(before, 0), enable_gqa=True
        )
    return cast(Tensor, output)  # a tuple only when more is asked for


def _window_mask(length: int, window: int | None, device: torch.device) -> Tensor:
    """True where a token may look: at itself and up to `window` - 1 tokens before it."""
    mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    return mask if window is None else mask.triu(1 - window)


class _PlainAttention(torch.autograd.Function):
    """Plain matrix products, for the CPU, where torch's tiled kernel takes 1.6 to 2.8 times as long (bf16, measured at
    800 and at 256 tokens, forward and backward).

    A block of queries at a time, the G query heads of a key head in one matrix; weights are computed again in the
    backward pass, so that memory stays linear in L.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float, lengths: list[int]) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scaling, ctx.lengths = scaling, lengths
        output = torch.empty_like(query.transpose(1, 2), memory_format=torch.contiguous_format)
        for q, k, v, out in _examples(lengths, query, key, value, output.transpose(1, 2)):
            for rows, end in _blocks(q.shape[1]):
                weights = _weights(_grouped(q[:, rows], len(k)), k[:, :end], scaling)
                out[:, rows] = torch.bmm(weights, v[:, :end]).view_as(out[:, rows])
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        # Several blocks add to the gradients of keys and values; in bf16 that would lose digits.
        precise = torch.promote_types(key.dtype, torch.float32)
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key, dtype=precise), torch.zeros_like(value, dtype=precise)
        tensors = query, key, value, gradient.transpose(1, 2), grad_query, grad_key, grad_value
        for q, k, v, g, grad_q, grad_k, grad_v in _examples(ctx.lengths, *tensors):
            for rows, end in _blocks(q.shape[1]):
                block, grad_block = _grouped(q[:, rows], len(k)), _grouped(g[:, rows], len(k))
                weights = _weights(block, k[:, :end], ctx.scaling)
                grad_v[:, :end] += torch.bmm(weights.transpose(1, 2), grad_block)
                grad_weights = torch.bmm(grad_block, v[:, :end].transpose(1, 2))
                grad_scores = softmax_backward(grad_weights, weights).mul_(ctx.scaling)
                grad_q[:, rows] = torch.bmm(grad_scores, k[:, :end]).view_as(grad_q[:, rows])
                grad_k[:, :end] += torch.bmm(grad_scores.transpose(1, 2), block)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None


def _examples(lengths: list[int], *tensors: Tensor) -> Any:
    """For each example its part (heads, L, E) of every tensor (1, heads, T, E)."""
    return zip(*(tensor[0].split(lengths, dim=1) for tensor in tensors), strict=True)


def _blocks(length: int) -> list[tuple[slice, int]]:
    """Blocks of queries, and for each the number of keys up to its end."""
    ends = [*range(_BLOCK, length, _BLOCK), length]
    return [(slice(start, end), end) for start, end in zip([0, *ends], ends, strict=False)]


def _grouped(queries: Tensor, num_key_heads: int) -> Tensor:
    """(H, R, E) as (K, G * R, E)."""
    return queries.reshape(num_key_heads, -1, queries.shape[-1])


def _weights(grouped: Tensor, keys: Tensor, scaling: float) -> Tensor:
    """Causal attention weights (K, G * R, L) of a block whose R queries stand at the end of the L keys."""
    length = keys.shape[1]
    num_rows = (length - 1) % _BLOCK + 1
    scores = torch.bmm(grouped, keys.transpose(1, 2)).mul_(scaling)
    hidden = scores.new_full((num_rows, num_rows), -torch.inf).triu_(1)
    scores.view(-1, num_rows, length)[..., length - num_rows :] += hidden
    return scores.softmax(dim=-1)
