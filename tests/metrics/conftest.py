"""What the tests of the caption metrics share: golden values of the reference implementation, and small captions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.contracts.news import CaptionItem

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """`golden("scores.json")`: what pycocoevalcap 1.2 with its Java tokenizer gave for real captions."""

    def load(name: str) -> Any:
        path = CHECKOUT / "../shared/fixtures/caption_metrics" / name
        if not path.is_file():
            pytest.skip(f"the golden values {name} are not in ../shared/fixtures/caption_metrics beside the checkout")
        return json.loads(path.read_text())

    return load


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
