"""The exact softmax of each query over the whole training gallery, whose embeddings stay as they are.

Shape letters: B queries, G images of the bank, E embedding width, K images that a query leaves out at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from diptych.contracts.retrieval import ContrastiveEmbeddings, TargetBank, TripletBatch
from diptych.losses.info_nce import MAX_LOGIT_SCALE, InfoNCE
from diptych.parallel.devices import sent

_BLOCK = 8192  # images whose logits exist at a time: 8 MB of them for 256 queries


class BankInfoNCE(InfoNCE):
    """Cross-entropy of each query against every image of the training data, in blocks: the memory is that of one.

    For a second stage, in which the gallery's side is frozen and the queries alone are trained. A query's own
    reference is among its candidates with `reference_negatives` only, as in a protocol that keeps it in the gallery.
    Other images that are known to answer the query are left out of them, unless `mask_duplicates` is False.
    `temperature` and `learned` are as in `InfoNCE`. There is no loss of targets against queries: targets do not move.

    The second stage of Feng et al. 2024 (SPN, "scaling negatives").
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learned: bool = False,
        reference_negatives: bool = False,
        mask_duplicates: bool = True,
    ) -> None:
        super().__init__(
            temperature,
            learned,
            gather_negatives=False,
            reference_negatives=reference_negatives,
            mask_duplicates=mask_duplicates,
        )

    @property
    def wants(self) -> frozenset[str]:
        """The bank, in which the references are."""
        return frozenset({"bank"})

    def forward(self, embeddings: ContrastiveEmbeddings, batch: TripletBatch) -> dict[str, Tensor]:
        """Named terms: `loss`, this rank's mean over its B queries, `temperature`, and `negatives_per_query`. Ranks
        exchange nothing: each has the whole bank.

        Raises:
            ValueError: the batch comes without a bank, or a target is not in it.
        """
        with torch.no_grad():
            self.log_logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        if batch.bank is None:
            raise ValueError(
                "system/loss=info_nce_bank compares with a bank of all training images, and this data has none: set "
                "data/training=features data.training.feature_cache=DIR system.model.backbone.freeze=all"
            )
        bank, device = batch.bank, embeddings.query.device
        targets = bank.rows_of(batch.target_keys)
        if (targets < 0).any():
            raise ValueError("a target is not in the bank: it is not of the data that the bank was made of")
        left_out = self._left_out(bank, batch, targets)
        with torch.autocast(device.type, enabled=False):  # cosines in bf16 would have two digits
            queries = embeddings.query.to(torch.promote_types(embeddings.query.dtype, torch.float32))
            right = bank.embeddings[sent(targets, device)].to(queries.dtype)
            positives = self.logit_scale * (queries * right).sum(dim=-1)
            candidates = log_sum_exp(queries, self.logit_scale, bank.embeddings, sent(left_out, device), _BLOCK)
        return {
            "loss": (candidates - positives).mean(),
            "temperature": 1 / self.logit_scale.detach(),
            "negatives_per_query": len(bank.embeddings) - 1 - (left_out >= 0).sum(dim=1).float().mean(),
        }

    def _left_out(self, bank: TargetBank, batch: TripletBatch, targets: Tensor) -> Tensor:
        """Rows of the bank that are no candidates (B, K), filled up with -1; a query's own target never is."""
        rows = bank.answers_of(batch) if self.mask_duplicates else targets.new_empty(len(targets), 0)
        if not self.reference_negatives:
            rows = torch.cat([rows, bank.rows_of(batch.reference_keys)[:, None]], dim=1)
        return rows.masked_fill(rows == targets[:, None], -1)


def log_sum_exp(queries: Tensor, scale: Tensor, bank: Tensor, left_out: Tensor, block_size: int) -> Tensor:
    """The logarithm (B,) of the sum over the bank (G, E) of exp(scale * cosine), for queries (B, E), without the rows
    `left_out` (B, K); -1 names no row.

    `block_size` rows are looked at at a time, once forth and once back, and nothing of a block is kept: the memory does
    not grow with G. Gradients flow to queries and scale; the bank has none.
    """
    total: Tensor = _LogSumExp.apply(queries, scale, bank, left_out, block_size)
    return total


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, scale: Tensor, bank: Tensor, left_out: Tensor, block_size: int) -> Tensor:
        total = queries.new_full((len(queries),), -torch.inf)
        for _, logits in _blocks(queries, scale, bank, left_out, block_size):
            total = torch.logaddexp(total, logits.logsumexp(dim=1))
        ctx.save_for_backward(queries, scale, bank, left_out, total)
        ctx.block_size = block_size
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, scale, bank, left_out, total = ctx.saved_tensors
        expected = torch.zeros_like(queries)  # each query's candidates, weighted by their probabilities
        for block, logits in _blocks(queries, scale, bank, left_out, ctx.block_size):
            expected.addmm_((logits - total[:, None]).exp_(), block)
        expected *= gradient[:, None]
        return scale * expected, (queries * expected).sum(), None, None, None


def _blocks(
    queries: Tensor, scale: Tensor, bank: Tensor, left_out: Tensor, block_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the bank, some at a time, with their logits, -inf where they are left out."""
    with torch.autocast(queries.device.type, enabled=False):  # the backward pass may stand in another context
        for start in range(0, len(bank), block_size):
            block = bank[start : start + block_size].to(queries.dtype)
            logits = scale * queries @ block.T
            # Rows of other blocks go into a column that is cut off: to pick them out, the host would wait for a GPU.
            inside = (left_out >= start) & (left_out < start + len(block))
            column = torch.where(inside, left_out - start, len(block))
            hidden = torch.zeros(len(queries), len(block) + 1, dtype=torch.bool, device=logits.device)
            yield block, logits.masked_fill_(hidden.scatter_(1, column, True)[:, :-1], -torch.inf)
