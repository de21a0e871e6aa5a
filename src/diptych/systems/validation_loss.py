"""The training's own loss on the queries of a validation split, from embeddings that are there anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diptych.contracts.models import TextTokens
from diptych.contracts.retrieval import (
    ContrastiveEmbeddings,
    EvaluationSet,
    RetrievalLoss,
    TargetBank,
    TripletBatch,
)


@dataclass(frozen=True)
class Pair:
    """A query and its answer: embeddings (E,), and names over all sets, of the query, its images, and whatever else
    answers it. `reference` is None where the gallery has not got that image.
    """

    query: Tensor
    target: Tensor
    reference: Tensor | None
    name: str
    reference_name: str
    target_name: str
    other_answers: tuple[str, ...]


def validation_loss(
    sets: Sequence[tuple[EvaluationSet, Mapping[str, Tensor]]],
    loss: RetrievalLoss,
    batch_size: int,
    device: torch.device,
) -> Tensor | None:
    """The loss of all sets' queries in their order, in batches of `batch_size`, the mean over queries; a query's
    negatives are the others of its batch, as in good4cir's validation; or, where the loss wants a bank, all galleries.
    Training's distractors are not among them.

    `sets` come with their embeddings, `queries/model` and `gallery/model`, as `evaluate_set` takes them. Queries whose
    answer is hidden, or lies outside the gallery, are left out. None if there are no others, or if the loss wants
    references that a gallery has not got.
    """
    pairs = [pair for evaluation, rows in sets for pair in _pairs(evaluation, rows)]
    with_reference = "reference" in loss.wants
    if not pairs or (with_reference and any(pair.reference is None for pair in pairs)):
        return None
    names = dict.fromkeys(name for pair in pairs for name in (pair.reference_name, pair.target_name))
    keys = {name: number for number, name in enumerate(names)}
    bank = _bank(sets, pairs, keys, device) if "bank" in loss.wants else None
    total = torch.zeros(())
    for start in range(0, len(pairs), batch_size):
        part = pairs[start : start + batch_size]
        references = [pair.reference for pair in part if pair.reference is not None]
        embeddings = ContrastiveEmbeddings(
            torch.stack([pair.query for pair in part]).to(device),
            torch.stack([pair.target for pair in part]).to(device),
            torch.stack(references).to(device) if with_reference else None,
        )
        total += loss(embeddings, _batch(part, keys, bank, device))["loss"].detach().cpu() * len(part)
    return total / len(pairs)


def _pairs(evaluation: EvaluationSet, rows: Mapping[str, Tensor]) -> Iterator[Pair]:
    gallery = dict(zip((image.image_id for image in evaluation.gallery), rows["gallery/model"], strict=True))
    for query, row in zip(evaluation.queries, rows["queries/model"], strict=True):
        if query.target_image in gallery:
            others = gallery.keys() & set(query.relevant_ids) - {query.target_image, query.reference_image}
            yield Pair(
                row,
                gallery[query.target_image],
                gallery.get(query.reference_image),
                f"{evaluation.name}/{query.query_id}",
                f"{evaluation.name}/{query.reference_image}",
                f"{evaluation.name}/{query.target_image}",
                tuple(f"{evaluation.name}/{name}" for name in sorted(others)),
            )


def _bank(
    sets: Sequence[tuple[EvaluationSet, Mapping[str, Tensor]]],
    pairs: Sequence[Pair],
    keys: dict[str, int],
    device: torch.device,
) -> TargetBank:
    """All galleries in one; an image that no query names gets a key."""
    names = [f"{evaluation.name}/{image.image_id}" for evaluation, _ in sets for image in evaluation.gallery]
    rows = {keys.setdefault(name, len(keys)): row for row, name in enumerate(names)}
    answers = {
        (pair.name, keys[pair.reference_name]): tuple(rows[keys[name]] for name in pair.other_answers) for pair in pairs
    }
    return TargetBank(torch.cat([embedded["gallery/model"] for _, embedded in sets]).to(device), rows, answers)


def _batch(
    pairs: Sequence[Pair], keys: Mapping[str, int], bank: TargetBank | None, device: torch.device
) -> TripletBatch:
    """What a loss asks of a batch beside the embeddings: which images are the same."""
    nothing = torch.empty(0, device=device)
    return TripletBatch(
        query_ids=tuple(pair.name for pair in pairs),
        reference=nothing,
        target=nothing,
        text=TextTokens(nothing.long(), nothing.bool()),
        reference_keys=torch.tensor([keys[pair.reference_name] for pair in pairs]),
        target_keys=torch.tensor([keys[pair.target_name] for pair in pairs]),
        bank=bank,
    )
