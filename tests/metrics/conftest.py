"""What the tests of the caption metrics share: golden values of the reference implementation, and small captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import golden_files
from diptych.contracts.news import CaptionItem


@pytest.fixture(scope="session", params=["newsroom", "real captions"])
def golden(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """`golden("scores.json")`: what pycocoevalcap 1.2 with its Java tokenizer gave for texts of the generated newsroom
    (written by `make golden`), and for real captions, which are not ours to give away.
    """
    if request.param == "newsroom":
        folder = golden_files.COMMITTED / "caption_metrics"
    else:
        folder = golden_files.beside_the_checkout("fixtures/caption_metrics")
    return lambda name: json.loads((folder / name).read_text())


@pytest.fixture
def predictions() -> list[str]:
    return ["A man rides a horse.", "Two dogs play in the snow", "a red car on the street", "", "Rain, rain, rain!"]


@pytest.fixture
def reference_captions() -> list[list[str]]:
    """One to three references for each prediction."""
    return [
        ["A man rides a horse on the beach.", "Someone's horse is ridden by a man."],
        ["Two dogs play in the snow.", "Dogs playing outside in the snow", "two dogs, and snow"],
        ["A red bus parked on the street"],
        ["A dog in the rain"],
        ["Rain falls: rain, rain and thunder.", "It rained 2 1/2 hours."],
    ]


@pytest.fixture
def items(predictions: list[str], reference_captions: list[list[str]]) -> list[CaptionItem]:
    """The captions above as items a, b, c, ..."""
    pairs = zip("abcde", predictions, reference_captions, strict=True)
    return [CaptionItem(query_id, caption, tuple(references)) for query_id, caption, references in pairs]
