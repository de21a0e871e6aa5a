"""How far each training triplet is believed, by what training itself sees of it: its weight in the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.contracts.retrieval import TripletBatch
from diptych.parallel.devices import fetched
from diptych.parallel.distributed import of_all_ranks, rank
from diptych.storage.json_files import write_json_lines
from diptych.systems.two_components import share_of_lower

FILE = "triplet_weights.jsonl"
Key = tuple[str, str]  # query id and wording: a record may have several, one of them untrue
_LEAST_LOSS = 1e-6  # what float32 tells from none


class TripletWeights:
    """The probability that a triplet's text is true, as its weight in the loss.

    An untrue text asks for another picture than the target, often for one more like the reference. So two numbers are
    noted whenever a triplet is drawn: the logarithm of its loss, and the margin, the probability that its query prefers
    the target to its own reference. Each is taken less the mean of its batch on all ranks, as both change while the
    model learns; a triplet has the mean over its draws. Divided by their standard deviations, loss less margin is its
    doubt, to which two normal distributions are fitted (`share_of_lower`).

    The first `warm_up` batches, in which a model knows too little, are not counted. After as many more as `every` says,
    and each time again, the weights are fitted; until then, and for what was not drawn since, they are 1. All ranks
    have the same numbers.

    Raises:
        ValueError: `warm_up` is negative, or `every` under 1.
    """

    def __init__(self, warm_up: int = 100, every: int = 50) -> None:
        if warm_up < 0 or every < 1:
            raise ValueError(f"warm_up={warm_up} must be 0 batches or more, and every={every} 1 or more")
        self.warm_up, self.every = warm_up, every
        self._batches = 0
        self._totals: dict[Key, list[float]] = {}  # draws, and the sums of log loss and margin
        self._weights: dict[Key, float] = {}
        self._coming: list[tuple[list[Key], Callable[[], Tensor]]] = []

    def weighed(self, batch: TripletBatch) -> TripletBatch:
        """The batch with its triplets' weights, fitted anew if it is time; all ranks come here together."""
        counted = self._batches - self.warm_up
        if counted > 0 and counted % self.every == 0:
            self._weights = self._fitted()
        return replace(batch, weights=torch.tensor([self._weights.get(key, 1.0) for key in _keys(batch)]))

    def note(self, batch: TripletBatch, per_triplet: Tensor) -> None:
        """Takes loss and margin (B, 2) of the batch's triplets, as the loss found them."""
        self._batches += 1
        if self._batches > self.warm_up:
            self._coming.append((_keys(batch), fetched(per_triplet)))

    def state_dict(self) -> dict[str, Any]:
        """What a run goes on with, in plain types and tensors; all ranks come here together."""
        self._settle()
        return {
            "batches": self._batches,
            "keys": list(self._totals),
            "totals": _rows(self._totals),
            "weights": torch.tensor([self._weights.get(key, 1.0) for key in self._totals], dtype=torch.double),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        keys = [(query_id, text) for query_id, text in state["keys"]]
        self._batches, self._coming = state["batches"], []
        self._totals = dict(zip(keys, state["totals"].tolist(), strict=True))
        self._weights = dict(zip(keys, state["weights"].tolist(), strict=True))

    def write(self, folder: Path) -> None:
        """Writes what was found to `triplet_weights.jsonl`, a line per triplet, the most doubtful first: `query_id`,
        `text`, `draws` counted, mean `loss` (logarithm) and `margin` above their batches' means, and `weight` by a fit
        to all of that. Nothing before the warm-up is over. All ranks come here together; the first one writes.
        """
        weights = self._fitted()
        if rank() != 0 or not weights:
            return
        lines = [
            {"query_id": query_id, "text": text, "draws": int(draws), "loss": loss / draws, "margin": margin / draws}
            | {"weight": weights[query_id, text]}
            for (query_id, text), (draws, loss, margin) in self._totals.items()
        ]
        write_json_lines(folder / FILE, sorted(lines, key=lambda line: line["weight"]))

    def _settle(self) -> None:
        """Adds up what has come since the last time, batch by batch in rank order."""
        own = [(keys, came().double().cpu()) for keys, came in self._coming]
        self._coming = []
        for batch in zip(*of_all_ranks(own), strict=True):
            seen = torch.cat([values for _, values in batch])
            seen[:, 0] = seen[:, 0].clamp(min=_LEAST_LOSS).log()
            above = (seen - seen.mean(dim=0)).tolist()
            for key, values in zip(chain.from_iterable(keys for keys, _ in batch), above, strict=True):
                total = self._totals.setdefault(key, [0.0, 0.0, 0.0])
                total[:] = [one + other for one, other in zip(total, (1.0, *values), strict=True)]

    def _fitted(self) -> dict[Key, float]:
        self._settle()
        if not self._totals:
            return {}
        totals = _rows(self._totals)
        means = totals[:, 1:] / totals[:, :1]
        standard = (means - means.mean(dim=0)) / means.std(dim=0, correction=0).clamp(min=torch.finfo(means.dtype).tiny)
        return dict(zip(self._totals, share_of_lower(standard[:, 0] - standard[:, 1]).tolist(), strict=True))


def _keys(batch: TripletBatch) -> list[Key]:
    return list(zip(batch.query_ids, batch.texts, strict=True))


def _rows(totals: Mapping[Key, list[float]]) -> Tensor:
    return torch.tensor(list(totals.values()), dtype=torch.double).reshape(-1, 3)
