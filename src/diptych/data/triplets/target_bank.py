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
from diptych.contracts.retrieval import TargetBank, TripletSource
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.triplet_dataset import TripletDataset, image_key, stack_images
from diptych.parallel.distributed import rank


def target_bank(
    triplets: TripletDataset, features: BackboneFeatures, model: Any, size: int, device: torch.device
) -> TargetBank:
    """All images of the triplets, embedded by `model.embed_image`, `size` at a time, on the device; what was computed
    lies there in float32.

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
    """The rows of the images, other than the target, that answer a query: those that its source lists, and the targets
    of triplets that say the same of the same reference.
    """

    def key_of(source: TripletSource, name: str) -> int:
        return image_key(source.image_path(triplets.split, name))

    told: dict[tuple[int, str], set[int]] = defaultdict(set)  # by reference and text
    for source, triplet in triplets.records:
        for text in triplet.modification_texts:
            told[key_of(source, triplet.reference_image), text].add(key_of(source, triplet.target_image))
    answers: dict[tuple[str, int], set[int]] = defaultdict(set)
    for source, triplet in triplets.records:
        reference, target = key_of(source, triplet.reference_image), key_of(source, triplet.target_image)
        known = {key_of(source, name) for name in triplet.relevant_ids}
        known.update(*(told[reference, text] for text in triplet.modification_texts))
        answers[triplet.query_id, reference] |= known & rows.keys() - {reference, target}
    return {query: tuple(sorted(rows[key] for key in known)) for query, known in answers.items() if known}
