"""What most tests share: a model small enough to be built and trained in milliseconds, and a batch for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from diptych.contracts import TripletBatch
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing

TEXTS = (
    "add a lamp",
    "remove the red curtains and the rug beside the bed",
    "paint it blue",
    "a",
    "two more chairs, please",
    "make the bed larger",
    "darker",
    "the floor is now of wood",
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, and no thread pool for matrices of 16 numbers."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny_architecture() -> dict[str, Any]:
    """An open_clip model configuration: 16 px pictures, 4 patches, 16-wide embeddings, the usual 77 tokens."""
    return {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }


@pytest.fixture
def tiny_preprocessing(tiny_architecture: dict[str, Any]) -> CLIPPreprocessing:
    return CLIPPreprocessing("tiny", architecture=tiny_architecture)


@pytest.fixture
def tiny_backbone(
    tiny_architecture: dict[str, Any], tiny_preprocessing: CLIPPreprocessing
) -> Callable[..., CLIPBackbone]:
    """`tiny_backbone(freeze="vision")` and so on: always the same random weights."""

    def build(**settings: Any) -> CLIPBackbone:
        torch.manual_seed(0)
        return CLIPBackbone("tiny", tiny_preprocessing, architecture=tiny_architecture, **settings)

    return build


@pytest.fixture
def tiny_batch(tiny_preprocessing: CLIPPreprocessing) -> Callable[..., TripletBatch]:
    """`tiny_batch(8, num_distractors=5)`: random pictures, texts of different lengths, every image with its own key."""

    def build(num_queries: int = 8, num_distractors: int = 0, seed: int = 0) -> TripletBatch:
        generator = torch.Generator().manual_seed(seed)

        def pictures(number: int) -> torch.Tensor:
            return torch.randint(0, 256, (number, 3, 16, 16), dtype=torch.uint8, generator=generator)

        return TripletBatch(
            query_ids=tuple(f"q{number}" for number in range(num_queries)),
            reference=pictures(num_queries),
            target=pictures(num_queries),
            text=tiny_preprocessing.tokenize([TEXTS[number % len(TEXTS)] for number in range(num_queries)]),
            reference_keys=torch.arange(num_queries),
            target_keys=torch.arange(num_queries) + 1000,
            distractors=pictures(num_distractors) if num_distractors else None,
            distractor_keys=torch.arange(num_distractors) + 2000 if num_distractors else None,
        )

    return build
