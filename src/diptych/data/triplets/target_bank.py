"""The bank of a second stage: every image of the training data, embedded once from the features of a frozen backbone.

Shape letters: G images of the bank, E embedding width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from diptych.contracts.models import ImageFeatures
from diptych.contracts.retrieval import TargetBank, Triplet, TripletSource
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.other_answers import other_answers
from diptych.data.triplets.triplet_dataset import TripletDataset, image_key, stack_images
from diptych.parallel.distributed import rank


def target_bank(
    triplets: TripletDataset, features: BackboneFeatures, model: Any, size: int, device: torch.device
) -> TargetBank:
    """All images of the triplets, embedded by `model.embed_image`, `size` at a time, on the device where they stay.

    Raises:
        ValueError: the model trains how images are embedded, so that a bank would be out of date after a step.
    """
    paths = triplets.image_paths()
    rows = {image_key(path): row for row, path in enumerate(paths)}
    training, home = model.training, next(model.parameters()).device
    model.eval().to(device)
    blocks = [paths[start : start + size] for start in range(0, len(paths), size)]
    shown = track(blocks, "bank of images", console=Console(stderr=True), disable=rank() > 0)
    pieces = [_embedded(model, stack_images([features.image(path) for path in block]), device) for block in shown]
    model.train(training).to(home)
    return TargetBank(torch.cat(pieces), rows, _answers(triplets, rows))


def _embedded(model: Any, images: Any, device: torch.device) -> Tensor:
    assert isinstance(images, ImageFeatures)
    embeddings: Tensor = model.embed_image(images.to(device))
    if embeddings.requires_grad:
        raise ValueError(
            f"system/loss=info_nce_bank keeps the embeddings of images as they are, and {type(model).__name__} trains "
            "them: choose a system/model whose gallery is the backbone's own, or system/loss=info_nce"
        )
    return embeddings


def _answers(triplets: TripletDataset, rows: Mapping[int, int]) -> dict[tuple[str, int], tuple[int, ...]]:
    """The rows of the images that answer a query beside its target; only those that are in the bank."""
    by_source: dict[int, list[tuple[TripletSource, Triplet]]] = defaultdict(list)
    for source, triplet in triplets.records:
        by_source[id(source)].append((source, triplet))
    answers: dict[tuple[str, int], tuple[int, ...]] = {}
    for records in by_source.values():
        known = other_answers(triplet for _, triplet in records)
        for source, triplet in records:
            if triplet.query_id not in known:
                continue
            names = (triplet.reference_image, *known[triplet.query_id])
            reference, *keys = (image_key(source.image_path(triplets.split, name)) for name in names)
            found = {rows[key] for key in keys if key in rows} | set(answers.get((triplet.query_id, reference), ()))
            answers[triplet.query_id, reference] = tuple(sorted(found))
    return {query: found for query, found in answers.items() if found}
