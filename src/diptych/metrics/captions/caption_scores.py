"""What a caption metric found, of the whole set and of each item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from diptych.contracts.retrieval import Better, MetricMeaning, Unit


@dataclass
class CaptionScores:
    """What a metric found: `corpus` values by name, `per_item` values (N,) by name, and what they rest on.

    `query_ids` (N) are in the order of the per-item values. `num_items` is N, `references_per_item` the fewest and the
    most. A corpus value of a part of what a metric counts is named `metric/aspect`. A value is NaN where the metric
    does not apply, such as the precision of a caption that names nothing. `document_frequencies` says in words what
    they were counted over, `model` which model was asked, `counted` how many of what; None where a metric uses none.
    `about` gives unit and better (see `MetricMeaning`) of the `corpus` values that are to be read otherwise than as a
    score of which more is better: `{"error_rate": ("fraction", "lower")}`.
    """

    corpus: dict[str, float]
    per_item: dict[str, np.ndarray]
    document_frequencies: str | None = None
    query_ids: tuple[str, ...] = ()
    num_items: int = 0
    references_per_item: tuple[int, int] = field(default=(0, 0))
    model: str | None = None
    counted: str | None = None
    about: Mapping[str, tuple[Unit, Better | None]] = field(default_factory=dict)

    @property
    def meanings(self) -> dict[str, MetricMeaning]:
        """How each of the `corpus` values is to be read. Raises ValueError for a unit or direction that is none."""
        try:
            plain = [name for name in self.corpus if "/" not in name]
            return {name: MetricMeaning(*self.about.get(name, ("score", "higher"))) for name in plain}
        except ValueError as error:
            raise ValueError(f"metric of {', '.join(self.corpus)}: {error}") from None

    def describe(self) -> str:
        """One line for tables and logs: N, references per item, and where frequencies and judgements came from."""
        fewest, most = self.references_per_item
        references = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        line = f"N={self.num_items}, references per item: {references}"
        for what, value in (("document frequencies", self.document_frequencies), ("model", self.model)):
            line += f", {what}: {value}" if value else ""
        return f"{line}, {self.counted}" if self.counted else line
