"""What a search for images finds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SearchResult:
    """An image that was found: its id, its file, and its score, a cosine similarity from -1 to 1 (higher is better)."""

    image_id: str
    path: Path
    score: float
