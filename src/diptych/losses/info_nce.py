"""Symmetric InfoNCE over all ranks, with extra negatives and masked duplicates.

Shape letters: B local batch, N all queries, M all candidates, E embedding width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.parallel.devices import sent
from diptych.parallel.distributed import gather, gather_with_gradient, rank

MAX_LOGIT_SCALE = 100.0  # CLIP's bound: beyond it training becomes unstable (Radford et al. 2021, section 2.5)


class InfoNCE(nn.Module):
    """Cross-entropy of each query against all targets, and of each target against all queries, averaged.

    `temperature` divides the cosines; with `learned` it is the start of a parameter that never goes below 1/100.
    `gather_negatives` takes the targets (and queries) of all ranks as negatives, with gradient. `reference_negatives`
    and `distractor_negatives` add the reference images and the records' distractors to every query's candidates.
    An image that shows a query's own target (equal key) is left out of its negatives wherever it occurs, unless
    `mask_duplicates` is False: published recipes compare with it as with any other.

    van den Oord et al. 2018, equation 4; symmetric as in CLIP (Radford et al. 2021, figure 3).
    """

    def __init__(
        self,
        temperature: float = 0.07,
        learned: bool = False,
        gather_negatives: bool = True,
        reference_negatives: bool = False,
        distractor_negatives: bool = False,
        mask_duplicates: bool = True,
    ) -> None:
        super().__init__()
        if temperature < 1 / MAX_LOGIT_SCALE:
            raise ValueError(f"temperature={temperature} is under {1 / MAX_LOGIT_SCALE}, where training diverges")
        log_scale = torch.tensor(math.log(1 / temperature))
        if learned:
            self.log_logit_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_logit_scale", log_scale, persistent=False)
        self.gather_negatives = gather_negatives
        self.reference_negatives = reference_negatives
        self.distractor_negatives = distractor_negatives
        self.mask_duplicates = mask_duplicates

    @property
    def wants(self) -> frozenset[str]:
        """What is embedded beside queries and targets: the extra negatives that are switched on."""
        extra = {"reference": self.reference_negatives, "distractors": self.distractor_negatives}
        return frozenset(name for name, wanted in extra.items() if wanted)

    @property
    def logit_scale(self) -> Tensor:
        """The factor on the cosines, 1 / temperature."""
        return self.log_logit_scale.exp()

    def forward(self, embeddings: ContrastiveEmbeddings, batch: TripletBatch) -> dict[str, Tensor]:
        """Named terms: `loss` (what to minimise), its two directions, `temperature`, and `negatives_per_query`, the
        mean number of candidates that a query is really compared with. The loss is this rank's mean over its B
        queries; the mean over ranks is the loss of the whole batch (distractors count on their own rank only).
        """
        with torch.no_grad():  # pulled back after the optimizer's step: clamped in the graph it would lose its gradient
            self.log_logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))
        with_gradient = gather_with_gradient if self.gather_negatives else _identity
        keys_of_all = gather if self.gather_negatives else _identity
        device = embeddings.query.device
        own_keys = sent(batch.target_keys, device)
        first = rank() * len(embeddings.query) if self.gather_negatives else 0
        own = torch.arange(first, first + len(embeddings.query), device=device)

        candidates, candidate_keys = [with_gradient(embeddings.target)], [keys_of_all(own_keys)]
        all_queries, all_target_keys = with_gradient(embeddings.query), candidate_keys[0]
        if self.reference_negatives:
            candidates.append(with_gradient(_required(embeddings.reference, "reference")))
            candidate_keys.append(keys_of_all(sent(batch.reference_keys, device)))
        if self.distractor_negatives and batch.distractor_keys is not None:
            # Their number differs between ranks, so they stay on the rank that has them; a batch may have none.
            candidates.append(_required(embeddings.distractors, "distractor"))
            candidate_keys.append(sent(batch.distractor_keys, device))

        weights = None if batch.weights is None else sent(batch.weights, device)
        to_target, each_to_target, negatives = self._cross_entropy(
            embeddings.query, torch.cat(candidates), own, own_keys, torch.cat(candidate_keys), weights
        )
        to_query, each_to_query, _ = self._cross_entropy(
            embeddings.target, all_queries, own, own_keys, all_target_keys, weights
        )
        per_triplet: dict[str, Tensor] = {}
        if each_to_target is not None and each_to_query is not None:
            each = (each_to_target + each_to_query) / 2
            per_triplet["per_triplet"] = torch.stack([each, self._prefers_target(embeddings)], dim=1).detach()
        return {
            "loss": (to_target + to_query) / 2,
            "query_to_target": to_target.detach(),
            "target_to_query": to_query.detach(),
            "temperature": 1 / self.logit_scale.detach(),
            "negatives_per_query": negatives,
            **per_triplet,
        }

    def _prefers_target(self, embeddings: ContrastiveEmbeddings) -> Tensor:
        """The softmax (B,) of each query's target against its own reference."""
        query, target = embeddings.query.float(), embeddings.target.float()
        apart = target - _required(embeddings.reference, "reference").float()
        return (self.logit_scale * (query * apart).sum(dim=1)).sigmoid()

    def _cross_entropy(
        self,
        anchors: Tensor,
        candidates: Tensor,
        positives: Tensor,
        anchor_keys: Tensor,
        candidate_keys: Tensor,
        weights: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Mean loss of anchors (B, E) whose right candidate stands at `positives` (B,), and negatives per anchor;
        between them each anchor's loss (B,) where they have weights, which the mean's are multiplied by.
        """
        with torch.autocast(anchors.device.type, enabled=False):  # cosines in bf16 would have two digits
            precise = torch.promote_types(anchors.dtype, torch.float32)
            logits = self.logit_scale * anchors.to(precise) @ candidates.to(precise).T
        same = (anchor_keys[:, None] == candidate_keys[None, :]) & self.mask_duplicates
        same[torch.arange(len(anchors), device=same.device), positives] = False
        logits = logits.masked_fill(same, -torch.inf)
        loss, negatives = F.cross_entropy(logits, positives), (~same).sum(dim=1).float().mean() - 1
        if weights is None:
            return loss, None, negatives
        each = F.cross_entropy(logits, positives, reduction="none")
        return loss + ((weights - 1) * each).mean(), each, negatives  # of weights of 1 the loss, bit for bit


def _identity(tensor: Tensor) -> Tensor:
    return tensor


def _required(tensor: Tensor | None, what: str) -> Tensor:
    if tensor is None:
        raise ValueError(f"{what}_negatives=true, but the batch was embedded without {what} images")
    return tensor
