"""Which wording of a triplet a training example uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from diptych.contracts.retrieval import Triplet

CAPTION_POLICIES = ("random", "join", "explode", "first")


def expand(triplets: Sequence[Triplet], policy: str) -> list[Triplet]:
    """The training records under a caption policy: `explode` makes one record per wording, `first` keeps the first,
    `join` puts all wordings into one text, `random` leaves the choice to `choose_text`, drawn anew each time.
    """
    if policy not in CAPTION_POLICIES:
        raise ValueError(f"data.training.caption_policy={policy!r} is not one of {', '.join(CAPTION_POLICIES)}")
    if policy == "random":
        return list(triplets)
    return [_with_texts(triplet, (text,)) for triplet in triplets for text in _texts(triplet, policy)]


def choose_text(triplet: Triplet, generator: torch.Generator) -> str:
    """One wording of the record, drawn uniformly."""
    texts = triplet.modification_texts
    if len(texts) == 1:
        return texts[0]
    return texts[int(torch.randint(len(texts), (1,), generator=generator))]


def _texts(triplet: Triplet, policy: str) -> Sequence[str]:
    texts = triplet.modification_texts
    if policy == "join":
        return [" ".join(text.strip() for text in texts)]
    return texts if policy == "explode" else texts[:1]


def _with_texts(triplet: Triplet, texts: tuple[str, ...]) -> Triplet:
    return replace(triplet, modification_texts=texts)
