"""The policy `verified`: one score over the first candidates, and nobody moves up without confidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from diptych.verification.features import Features, Orb, Sift, cap_long_side
from diptych.verification.matching import is_plausible, match_descriptors, spread, usac_homography
from diptych.verification.policy import (
    DEGENERATE,
    TOO_FEW_FEATURES,
    UNREADABLE,
    VERIFIED,
    Description,
    Finding,
    Verdict,
)

_FEWEST_FEATURES = 10  # below which Beyond Vision's code compares nothing
_DOUBT = 2.0  # effective inliers at which the score is one half: about what pictures of other things reach by chance


@dataclass(frozen=True)
class VerifiedPolicy:
    """Orders the first `depth` candidates by how much of the query's picture is found again in theirs.

    Two pictures are compared by mutual nearest SIFT (or ORB) descriptors that pass the ratio test and agree with one
    homography. The agreement in *effective inliers* is `E = inliers x inlier_ratio x spread`, 0 where no
    plausible homography is found, and the score `E / (E + 2)`, from 0 to 1.

    A candidate moves up past the one before it when it has `min_inliers` and the confidence, which is the margin
    `(E - E_before) / (E + 2)`, is `min_confidence` or more; then it is held against the next one. Where this never
    is so, the order of the embeddings stands. A candidate without features scores 0. One whose file cannot be read
    keeps its place between those before and those after it, which are ordered among themselves: nobody gains by
    another's absence. Without the query's picture nothing moves.

    Args:
        detector: Settings of SIFT or ORB.
        max_side: The long side that pictures are brought down to, in pixels.
        depth: How many candidates are looked at.
        ratio: Of the ratio test.
        threshold: How far an inlier may lie from where the homography puts it, in pixels of the capped candidate.
        min_inliers: Fewer than that never move a candidate.
        min_confidence: The margin that is needed, from 0 to 1.
    """

    detector: Sift | Orb = field(default_factory=Sift)
    max_side: int = 480
    depth: int = 10
    ratio: float = 0.8
    threshold: float = 2.0
    min_inliers: int = 8
    min_confidence: float = 0.4

    def __post_init__(self) -> None:
        for name, low, high in (
            ("max_side", 32, 10_000),
            ("depth", 1, 1000),
            ("ratio", 0.0, 1.0),
            ("threshold", 0.0, 100.0),
            ("min_inliers", 4, 100_000),
            ("min_confidence", 0.0, 1.0),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"policy verified: {name} is {getattr(self, name)}; choose {low} to {high}")

    def recipe(self) -> str:
        """The detector's settings and the cap."""
        return f"{self.detector!r} {self.max_side}"

    def describe(self, picture: np.ndarray) -> Description:
        """Keypoints and descriptors of the capped picture, under `features`."""
        grey = cv2.cvtColor(cap_long_side(picture, self.max_side), cv2.COLOR_BGR2GRAY)
        return self.detector.detect(grey).to_arrays("features")

    def rerank(
        self, query: Description | None, candidates: Sequence[Description | None], scores: Sequence[float]
    ) -> Verdict:
        """See the class; `scores` are not looked at."""
        findings = tuple(self.compare(query, candidate) for candidate in candidates)
        order: list[int] = []
        for position in range(len(candidates)):
            place = len(order)
            while place > 0 and self._passes(findings[position], findings[order[place - 1]]):
                place -= 1
            order.insert(place, position)
        return Verdict(tuple(order), findings)

    def compare(self, query: Description | None, candidate: Description | None) -> Finding:
        """The outcome; measures: `matches`, `inliers`, `inlier_ratio`, `spread`, `effective_inliers`, `score`."""
        if query is None or candidate is None:
            return Finding(UNREADABLE, {})
        left, right = Features.from_arrays(query, "features"), Features.from_arrays(candidate, "features")
        if min(len(left), len(right)) < _FEWEST_FEATURES:
            return Finding(TOO_FEW_FEATURES, {})
        matches = match_descriptors(left, right, self.ratio, mutual=True)
        left_points, right_points = left.points[matches[:, 0]], right.points[matches[:, 1]]
        homography = usac_homography(left_points, right_points, self.threshold)
        if homography is None or not is_plausible(homography.matrix, left, right):
            outcome = VERIFIED if len(matches) < 4 else DEGENERATE
            return Finding(outcome, self._measures(len(matches), 0, 0.0))
        inliers = homography.inliers
        covered = spread(left_points[inliers], right_points[inliers], left, right)
        return Finding(VERIFIED, self._measures(len(matches), int(inliers.sum()), covered))

    def _measures(self, matches: int, inliers: int, covered: float) -> dict[str, float | int]:
        inlier_ratio = inliers / matches if matches else 0.0
        effective = inliers * inlier_ratio * covered
        return {
            "matches": matches,
            "inliers": inliers,
            "inlier_ratio": inlier_ratio,
            "spread": covered,
            "effective_inliers": effective,
            "score": effective / (effective + _DOUBT),
        }

    def _passes(self, finding: Finding, before: Finding) -> bool:
        if before.outcome == UNREADABLE or finding.measures.get("inliers", 0) < self.min_inliers:
            return False
        own, other = finding.measures["effective_inliers"], before.measures.get("effective_inliers", 0.0)
        return own > other and (own - other) / (own + _DOUBT) >= self.min_confidence
