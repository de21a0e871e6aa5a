"""What metrics say of items that lack what they look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diptych.contracts.news import CaptionItem

_SHOWN_IDS = 10


def require_references(items: Iterable[CaptionItem], metric: str) -> None:
    """Raises ValueError naming the items without reference captions."""
    _refuse((item.query_id for item in items if not item.reference_captions), metric, "have no reference caption")


def require_evidence(items: Iterable[CaptionItem], metric: str) -> None:
    """Raises ValueError naming the items that do not say what their caption was made from."""
    missing = (item.query_id for item in items if item.evidence_text is None)
    _refuse(missing, metric, "have no evidence text; captions in a file have none, those of a run do")


def require_images(items: Iterable[CaptionItem], metric: str) -> None:
    """Raises ValueError naming the items whose photo is not known or not there."""
    missing = (item.query_id for item in items if item.image_path is None or not item.image_path.is_file())
    _refuse(missing, metric, "have no photo on disk; fetch the photos or leave this metric out")


def _refuse(query_ids: Iterator[str], metric: str, problem: str) -> None:
    ids = list(query_ids)
    if ids:
        listed = ", ".join(ids[:_SHOWN_IDS]) + (", ..." if len(ids) > _SHOWN_IDS else "")
        raise ValueError(f"{metric}: {len(ids)} items {problem}: {listed}")
