"""Which of the captions that were sampled for a photo is kept, and the record of why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.contracts.news import ClaimChecker
from diptych.systems import consensus

CHOICES = ("consensus", "support")
_DECIMALS = 6


@dataclass(frozen=True)
class CandidateChoice:
    """Keeps one of each record's `candidates`: with a `checker` by support in the evidence, then by consensus; without
    one by consensus alone.

    By support, the candidates with the fewest claims that the evidence does not state go on, and of these the one that
    is closest to all samples of the photo is kept; of equals the first. Three decisions:

    - Fewest in number, not in share: a reader is misled by each invention, and a share is lowered by copying more names
      from the article around it.
    - The jury of the consensus stays all N samples, those that were put aside too: what may win and what is compared
      with are two sets (Eikema and Aziz 2022, "Sampling-Based Approximations to Minimum Bayes Risk Decoding for Neural
      Machine Translation"). Two that are left could not agree more with each other than the other way round.
    - An empty caption claims nothing and says nothing: it goes on only where all are empty.
    """

    closeness: consensus.Closeness
    checker: ClaimChecker | None = None

    def choose(self, records: Sequence[Mapping[str, Any]], evidence: Mapping[str, str]) -> list[dict[str, Any]]:
        """The records with the fields of the kept candidate and `chosen`, its number from 0; all `candidates` stay.

        By support every candidate says `unsupported_claims`, `claims` and `closeness` to the others. `evidence` is the
        text of each query's prompt by query id. Chosen again, a record stays as it is.

        Raises:
            ValueError: queries have different numbers of candidates, or as the closeness or the checker.
        """
        captions = [[candidate["caption"] for candidate in record["candidates"]] for record in records]
        if self.checker is None:
            return list(map(_kept, records, consensus.choose(captions, self.closeness)))
        closeness = consensus.averages(captions, self.closeness)  # (Q, N)
        counts = self._unsupported(self.checker, records, evidence)  # (Q, N, 2)
        unsupported = np.where([[not caption.strip() for caption in own] for own in captions], np.inf, counts[..., 0])
        goes_on = unsupported == unsupported.min(-1, keepdims=True)
        chosen = np.where(goes_on, closeness, -np.inf).argmax(-1).tolist()
        found = zip(records, counts.tolist(), closeness.tolist(), chosen, strict=True)
        return [_kept(_explained(record, *why), number) for record, *why, number in found]

    @staticmethod
    def _unsupported(
        checker: ClaimChecker, records: Sequence[Mapping[str, Any]], evidence: Mapping[str, str]
    ) -> np.ndarray:
        """Unsupported and all claims of each candidate (Q, N, 2), in one call of the checker."""
        captions = [candidate["caption"] for record in records for candidate in record["candidates"]]
        texts = [evidence[record["query_id"]] for record in records for _ in record["candidates"]]
        return np.array(checker.unsupported(captions, texts)).reshape(len(records), -1, 2)


def _explained(
    record: Mapping[str, Any], counts: Sequence[tuple[int, int]], closeness: Sequence[float]
) -> dict[str, Any]:
    """The record, its candidates with what decides the choice."""
    explained = [
        {**candidate, "unsupported_claims": unsupported, "claims": claims, "closeness": round(value, _DECIMALS)}
        for candidate, (unsupported, claims), value in zip(record["candidates"], counts, closeness, strict=True)
    ]
    return {**record, "candidates": explained}


def _kept(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    kept = {**record["candidates"][number], "chosen": number}
    others = {key: value for key, value in record.items() if key not in kept}
    return {"query_id": record["query_id"], **kept, **others}
