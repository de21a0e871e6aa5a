"""ConText-CIR's text concept-consistency: a noun phrase means the same in its text and alone.

Shape letters: N noun phrases of the batch, P patches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch


class ConceptConsistency(nn.Module):
    """How differently the patches of a reference image attend to a noun phrase in its text and to the phrase alone.

    With a[p] the attention of patch p to the phrase in its text, and b[p] to the phrase encoded as a text of its own,
    both the mean over layers, heads and the phrase's tokens,

        weight * mean over phrases of mean over patches of max(0, |a[p] - b[p]| - epsilon).

    b has no gradient, class tokens are no patches, and the mean over phrases is that of the own rank: `src/Models.py`
    of mvrl/ConText-CIR at cc07007, whose weight is 0.08 and epsilon 0; its README, older, says 0.05. The paper (Xing et
    al. 2025, arXiv 2505.20764) sums over phrases. With weight 0 nothing is computed.
    """

    def __init__(self, weight: float = 0.08, epsilon: float = 0.0) -> None:
        super().__init__()
        if weight < 0 or epsilon < 0:
            raise ValueError(f"weight={weight} and epsilon={epsilon} must be 0 or more")
        self.weight, self.epsilon = weight, epsilon

    @property
    def wants(self) -> frozenset[str]:
        """The attention to noun phrases."""
        return frozenset({"concepts"} if self.weight else ())

    def forward(self, embeddings: ContrastiveEmbeddings, batch: TripletBatch) -> dict[str, Tensor]:
        """Named terms: `loss`, `difference` (the mean before its weight) and `phrases`, how many there were. A batch
        without phrases has the loss 0.
        """
        if not self.weight:
            return {"loss": embeddings.query.new_zeros(())}
        attention = embeddings.concepts
        if attention is None:
            raise ValueError("concept_consistency: the batch was embedded without the attention to its noun phrases")
        apart = F.relu((attention.in_text - attention.alone).abs() - self.epsilon)  # (N, P)
        difference = apart.sum() / max(apart.numel(), 1)
        return {
            "loss": self.weight * difference,
            "difference": difference.detach(),
            "phrases": torch.tensor(float(len(apart)), device=apart.device),
        }
