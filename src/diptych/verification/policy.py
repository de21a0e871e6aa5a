"""What a verification policy is, and what it answers: the interface between pictures, the cache and the stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

VERIFIED, TOO_FEW_FEATURES, DEGENERATE, UNREADABLE = "verified", "too_few_features", "degenerate", "unreadable"
OUTCOMES = (VERIFIED, TOO_FEW_FEATURES, DEGENERATE, UNREADABLE)

Description = Mapping[str, np.ndarray]  # all that a policy wants to know of a picture, as plain arrays


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of comparing the query's picture with one candidate's.

    `outcome` is `verified` (compared; the measures say how well they agree), `too_few_features` (one of the pictures
    has nothing to hold on to: flat, tiny), `degenerate` (there are matches, but no camera movement explains them) or
    `unreadable` (one of the files). `measures` are numbers by name; where nothing was measured there are none.
    """

    outcome: str
    measures: Mapping[str, float | int]

    def to_json(self) -> dict[str, Any]:
        """The outcome and the measures in one object, fractions to six places."""
        rounded = {
            name: round(value, 6) if isinstance(value, float) else value for name, value in self.measures.items()
        }
        return {"outcome": self.outcome, **rounded}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`order` (N,) are the positions of the candidates that were given, best first; `findings` are about the first of
    them, in the order that they were given in.
    """

    order: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def moved(self) -> bool:
        """Whether the order is another one than before."""
        return self.order != tuple(range(len(self.order)))


def is_confirmed(findings: Sequence[Mapping[str, Any]], min_inliers: int) -> bool:
    """Whether the first candidate is where it is by what was seen, not for want of anything better: it has as many
    inliers, and no other agrees more with the query. `findings` are those of the candidates in their new order, as
    `Finding.to_json` has them; agreement is `effective_inliers`, or `inliers` where a policy has no such measure.
    """
    if not findings or findings[0].get("inliers", 0) < min_inliers:
        return False
    agreement = [finding.get("effective_inliers", finding.get("inliers", 0)) for finding in findings]
    return agreement[0] == max(agreement)


class Policy(Protocol):
    """Looks at pictures and orders candidates anew. Small, can be pickled, the same answer whatever the threads."""

    depth: int
    min_inliers: int  # fewer confirm nothing

    def recipe(self) -> str:
        """Stands for everything that decides what `describe` gives."""

    def describe(self, picture: np.ndarray) -> Description:
        """What the policy wants to know of a picture (H, W, 3) uint8 BGR; needed once for each picture."""

    def rerank(
        self, query: Description | None, candidates: Sequence[Description | None], scores: Sequence[float]
    ) -> Verdict:
        """The verdict over at most `depth` candidates, best first, with their scores; None is an unreadable picture."""
