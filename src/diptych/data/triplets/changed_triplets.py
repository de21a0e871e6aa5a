"""A source of which something of the training triplets is changed, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource


class ChangedTriplets(TripletSource):
    """All is as the source has it, but for what a subclass makes of `triplets`."""

    def __init__(self, source: TripletSource) -> None:
        self.source = source
        self.name, self.root, self.docs_page, self.splits = source.name, source.root, source.docs_page, source.splits

    def prepare(self) -> None:
        """As the source."""
        self.source.prepare()

    def triplets(self, split: str) -> Sequence[Triplet]:
        """As the source."""
        return self.source.triplets(split)

    def queries(self, split: str) -> Sequence[Query]:
        """As the source."""
        return self.source.queries(split)

    def gallery(self, split: str) -> Sequence[GalleryImage]:
        """As the source."""
        return self.source.gallery(split)

    def protocol(self, split: str) -> EvaluationProtocol:
        """As the source."""
        return self.source.protocol(split)

    def image_path(self, split: str, image_id: str) -> Path:
        """As the source."""
        return self.source.image_path(split, image_id)
