"""The policy `published`: three re-ranking steps of Beyond Vision (Re:zero Slavery), EVENTA 2025, with its constants.

The paper is arXiv 2512.20042. The constants are those of the code published with it (on GitHub:
PhamPhuHoa-23/Event-Enriched-Image-Captioning-ReZeroSlavery); steps 2 to 4 are its stages 2 to 4.

Each picture is described once here, where the published code does it anew for every pair and step; the decisions are
the same. One thing is mended: a step in which a picture is missing leaves its order as it was (there the pictures of
the query before were compared, or a candidate won by the other file's absence).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import cv2
import numpy as np

from diptych.verification.features import Features, Orb, Sift, cap_long_side
from diptych.verification.policy import (
    DEGENERATE,
    TOO_FEW_FEATURES,
    UNREADABLE,
    VERIFIED,
    Description,
    Finding,
    Verdict,
)
from diptych.verification.published_scores import (
    Agreement,
    combine_scores,
    enhance,
    halved,
    measure_agreement,
    orb_score,
    sift_score,
    template_score,
)

_FORMAT = 1  # raise it when `describe` begins to give something else
_PAIR_ORB, _PAIR_SIFT = Orb(), Sift()
_FINE_ORB = Orb(num_features=2500, scale_factor=1.15, num_levels=10, edge_threshold=15)
_FINE_SIFT = Sift(num_features=1200, num_octave_layers=4, contrast_threshold=0.03, edge_threshold=8.0)
_HALVED_ABOVE = 400  # pixels of the short side
_THUMBNAIL = 256
_BIAS = (4.5, 3.0, 1.5)  # of the first three positions
_LEAST_IMPROVEMENT = 8.0


@dataclass(frozen=True)
class PublishedPolicy:
    """Steps 2 to 4 of the published ensemble, on the first four candidates.

    Step 2 may exchange the first two, by the inliers of ORB and SIFT. Step 3 may sort the first three by
    a quality score over ORB, SIFT, ORB at half size and a template, on pictures that were smoothed and sharpened.
    Step 4 may exchange the first and the fourth by the same score. A step needs all its pictures.

    Args:
        max_side: None compares pictures in full size, as published; else the long side that they are brought down to.
        min_confidence: Of step 2, which acts above it.
        min_inliers: Of step 2: one of the two must have as many.
        refine_confidence: Of steps 3 and 4, which act from it on.
        refine_quality: Of steps 3 and 4: the least score of the candidate that moves up.
    """

    depth: ClassVar[int] = 4

    max_side: int | None = None
    min_confidence: float = 0.4
    min_inliers: int = 8
    refine_confidence: float = 0.25
    refine_quality: float = 18.0

    def recipe(self) -> str:
        """The cap; everything else is constant."""
        return f"published {_FORMAT} {self.max_side}"

    def describe(self, picture: np.ndarray) -> Description:
        """Five sets of features, of which `half` may be absent, and `thumbnail` (256, 256) uint8."""
        picture = cap_long_side(picture, self.max_side)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        fine = cv2.cvtColor(enhance(picture, grey), cv2.COLOR_BGR2GRAY)
        features = {
            "pair_orb": _PAIR_ORB.detect(grey),
            "pair_sift": _PAIR_SIFT.detect(grey),
            "fine_orb": _FINE_ORB.detect(fine),
            "fine_sift": _FINE_SIFT.detect(fine),
        }
        if min(grey.shape) > _HALVED_ABOVE:
            features["half_orb"] = _FINE_ORB.detect(halved(fine))
        arrays = {"thumbnail": cv2.resize(fine, (_THUMBNAIL, _THUMBNAIL))}
        for name, found in features.items():
            arrays |= found.to_arrays(name)
        return arrays

    def rerank(
        self, query: Description | None, candidates: Sequence[Description | None], scores: Sequence[float]
    ) -> Verdict:
        """See the class. Findings have the measure `quality`, and the first two also those of step 2."""
        comparison = _Comparison(query, candidates)
        order = list(range(len(candidates)))
        if comparison.has(order[:2], 2):
            first, second = comparison.agreement(0), comparison.agreement(1)
            confident = pair_confidence(first, second, abs(scores[0] - scores[1])) > self.min_confidence
            enough = max(first.inliers, second.inliers) >= self.min_inliers
            if confident and enough and second.total() > first.total():
                order[:2] = 1, 0
        if comparison.has(order[:3], 2):
            order[:3] = self._sort_three(order[:3], comparison)
        if len(order) > 3 and comparison.has([order[0], order[3]], 2):
            leading, fourth = comparison.quality(order[0]), comparison.quality(order[3])
            if fourth_confidence(leading, fourth, self.refine_quality) >= self.refine_confidence:
                order[0], order[3] = order[3], order[0]
        return Verdict(tuple(order), tuple(comparison.finding(position) for position in range(len(candidates))))

    def _sort_three(self, order: list[int], comparison: _Comparison) -> list[int]:
        quality = [comparison.quality(position) for position in order]
        if three_confidence(quality, self.refine_quality) < self.refine_confidence:
            return order
        biased = [value + bias for value, bias in zip(quality, _BIAS, strict=False)]
        return [order[place] for place in sorted(range(len(order)), key=lambda place: -biased[place])]


class _Comparison:
    """One query against its candidates, by their positions; everything is computed when first asked for, once."""

    def __init__(self, query: Description | None, candidates: Sequence[Description | None]) -> None:
        self._query, self._candidates = query, candidates
        self._agreements: dict[int, Agreement] = {}
        self._qualities: dict[int, float] = {}

    def has(self, positions: Sequence[int], fewest: int) -> bool:
        """Whether there are as many positions, and every picture of them and the query's."""
        readable = all(self._candidates[position] is not None for position in positions)
        return self._query is not None and readable and len(positions) >= fewest

    def agreement(self, position: int) -> Agreement:
        if position not in self._agreements:
            orb, sift = (measure_agreement(*self._pair(position, name)) for name in ("pair_orb", "pair_sift"))
            self._agreements[position] = Agreement(
                max(orb.inliers, 0.8 * sift.inliers),
                0.6 * orb.inlier_ratio + 0.4 * sift.inlier_ratio,
                0.6 * orb.homography_score + 0.4 * sift.homography_score,
                0.6 * orb.spatial_consistency + 0.4 * sift.spatial_consistency,
            )
        return self._agreements[position]

    def quality(self, position: int) -> float:
        """The score of steps 3 and 4."""
        if position not in self._qualities:
            query, candidate = self._descriptions(position)
            values = [orb_score(*self._pair(position, "fine_orb"))]
            values.append(0.85 * sift_score(*self._pair(position, "fine_sift")))
            if "half_orb.size" in query and "half_orb.size" in candidate:
                values.append(0.7 * orb_score(*self._pair(position, "half_orb")))
            values.append(0.4 * template_score(query["thumbnail"], candidate["thumbnail"]))
            self._qualities[position] = combine_scores(values)
        return self._qualities[position]

    def finding(self, position: int) -> Finding:
        if self._query is None or self._candidates[position] is None:
            return Finding(UNREADABLE, {})
        if min(map(len, self._pair(position, "pair_orb"))) < 10:
            return Finding(TOO_FEW_FEATURES, {})
        measures: dict[str, float | int] = {}
        outcome = VERIFIED
        if position in self._agreements:
            found = self._agreements[position]
            measures = {name: float(getattr(found, name)) for name in Agreement.__dataclass_fields__}
            if found.inliers > 0 and found.homography_score == 0:
                outcome = DEGENERATE
        if position in self._qualities:
            measures["quality"] = self._qualities[position]
        return Finding(outcome, measures)

    def _pair(self, position: int, name: str) -> tuple[Features, Features]:
        query, candidate = self._descriptions(position)
        return Features.from_arrays(query, name), Features.from_arrays(candidate, name)

    def _descriptions(self, position: int) -> tuple[Description, Description]:
        query, candidate = self._query, self._candidates[position]
        assert query is not None and candidate is not None  # who asks has asked `has`
        return query, candidate


def pair_confidence(first: Agreement, second: Agreement, score_difference: float) -> float:
    """The confidence of step 2."""
    difference = abs(first.inliers - second.inliers)
    fewest = min(first.inliers, second.inliers)
    confidence = 0.4 if difference > 20 else 0.2 if difference > 10 else 0.0
    confidence += 0.3 if abs(first.inlier_ratio - second.inlier_ratio) > 0.2 else 0.0
    confidence += 0.2 if fewest > 15 else -0.3 if fewest < 5 else 0.0
    confidence += 0.1 if abs(first.spatial_consistency - second.spatial_consistency) > 0.3 else 0.0
    return confidence + (0.2 if score_difference < 0.01 else 0.0)


def three_confidence(quality: Sequence[float], least: float) -> float:
    """The confidence of step 3, over the scores of the first three, in their order."""
    best = int(np.argmax(quality))
    top, improvement = quality[best], quality[best] - quality[0]
    if best == 0 or top < least or improvement < _LEAST_IMPROVEMENT:
        return 0.0
    relative = improvement / max(quality[0], 1.0)
    confidence = 0.4 if relative > 0.2 else 0.2 if relative > 0.1 else 0.0
    confidence += 0.3 if top > 35 else 0.2 if top > 25 else 0.0
    confidence += 0.2 if improvement > 15 else 0.0
    confidence -= 0.1 if best == 2 else 0.0
    confidence += 0.1 if len(quality) == 3 and float(np.std(quality)) > 10 else 0.0
    return min(max(confidence, 0.0), 1.0)


def fourth_confidence(first: float, fourth: float, least: float) -> float:
    """The confidence of step 4."""
    improvement = fourth - first
    if fourth < least or improvement < _LEAST_IMPROVEMENT:
        return 0.0
    relative = improvement / first if first > 0 else inf
    confidence = 0.5 if relative > 0.3 else 0.4 if relative > 0.2 else 0.2 if relative > 0.1 else 0.0
    confidence += 0.3 if fourth > 35 else 0.2 if fourth > 25 else 0.0
    confidence += 0.2 if improvement > 20 else 0.1 if improvement > 15 else 0.0
    return min(max(confidence - 0.15, 0.0), 1.0)
