"""What Beyond Vision's re-ranking measures between two pictures, from what is known of each.

The constants are those of its published code (see `published_policy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import cv2
import numpy as np

from diptych.verification.features import Features
from diptych.verification.matching import match_descriptors, occupied_cells, ransac_homography

_WEIGHTS = (1.0, 0.85, 0.7, 0.4)  # of ORB, SIFT, ORB at half size, template
_SHARPEN = np.array([[0, -0.8, 0], [-0.8, 4.2, -0.8], [0, -0.8, 0]], np.float32)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What step 2 measures."""

    inliers: float = 0.0
    inlier_ratio: float = 0.0
    homography_score: float = 0.0
    spatial_consistency: float = 0.0

    def total(self) -> float:
        """What the first two are exchanged by."""
        return self.inliers + 100 * self.inlier_ratio + 50 * self.homography_score


def halved(grey: np.ndarray) -> np.ndarray:
    """Half the width and height, averaged."""
    height, width = grey.shape
    return cv2.resize(grey, (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def enhance(picture: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """Smoothed; evened out where it is dull, dark or bright; sharpened where it is blurred (published step 3)."""
    contrast, mean = float(grey.std()), float(grey.mean())
    sharpness = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    picture = cv2.bilateralFilter(picture, 5, 25, 25)
    if contrast < 40 or mean < 70 or mean > 200:
        lab = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB)
        lab[..., 0] = cv2.createCLAHE(2.5 if contrast < 30 else 1.8, (8, 8)).apply(lab[..., 0])
        picture = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
    if sharpness < 120:
        weight = 0.4 if sharpness < 60 else 0.25
        picture = cv2.addWeighted(picture, 1 - weight, cv2.filter2D(picture, -1, _SHARPEN), weight, 0)
    return picture


def spatial_consistency(points: np.ndarray, features: Features, fewest: int) -> float:
    """How evenly the points (M, 2) lie in a 4 x 4 grid over the picture, from 0 to 1; 0 for fewer than `fewest`."""
    if len(points) < fewest:
        return 0.0
    counts = occupied_cells(points, features)
    return len(counts) / 16 * exp(-float(counts.std()) / len(points))


def measure_agreement(query: Features, candidate: Features) -> Agreement:
    """Step 2's measures by one detector; all 0 for too few keypoints or matches."""
    if min(len(query), len(candidate)) < 10:
        return Agreement()
    matches = match_descriptors(query, candidate, 0.7 if len(query) > 500 else 0.75)
    points = query.points[matches[:, 0]]
    homography = ransac_homography(points, candidate.points[matches[:, 1]], 5.0)
    if homography is None:
        return Agreement()
    inliers = int(homography.inliers.sum())
    plausible = 0.1 < np.linalg.det(homography.matrix[:2, :2]) < 10
    return Agreement(
        inliers,
        inliers / len(matches),
        min(1.0, inliers / 50) if plausible else 0.0,
        spatial_consistency(points[homography.inliers], query, 4),
    )


def orb_score(query: Features, candidate: Features) -> float:
    """The part of ORB in the score of steps 3 and 4; from 0 up."""
    if min(len(query), len(candidate)) < 12:
        return 0.0
    matches = match_descriptors(query, candidate, 0.8 if len(query) < 300 else 0.75)
    if len(matches) < 6:
        return 0.0
    points = query.points[matches[:, 0]]
    found = ransac_homography(points, candidate.points[matches[:, 1]], 3.5, max_iterations=2000, confidence=0.995)
    if found is None:
        return 0.0
    inliers = int(found.inliers.sum())
    score = 0.6 * inliers + 40 * inliers / len(matches)
    if inliers > 8 and 0.25 < np.linalg.det(found.matrix[:2, :2]) < 4:
        score += 8
        if inliers > 10:
            score += 12 * spatial_consistency(points[found.inliers], query, 6)
    return score


def sift_score(query: Features, candidate: Features) -> float:
    """The part of SIFT in the score of steps 3 and 4; from 0 up."""
    if min(len(query), len(candidate)) < 8:
        return 0.0
    matches = match_descriptors(query, candidate, 0.7)
    found = ransac_homography(query.points[matches[:, 0]], candidate.points[matches[:, 1]], 4.0)
    if found is None:
        return 0.0
    inliers = int(found.inliers.sum())
    return 0.8 * inliers + 30 * inliers / len(matches)


def template_score(left: np.ndarray, right: np.ndarray) -> float:
    """How alike two thumbnails of one size are, from 0 to 35."""
    methods = (cv2.TM_CCOEFF_NORMED, cv2.TM_CCORR_NORMED)
    values = [float(cv2.matchTemplate(left, right, method)[0, 0]) for method in methods]
    return max(0.0, 35 * sum(values) / 2)


def combine_scores(values: Sequence[float]) -> float:
    """The published combination: weights a second time, by place, and the median of three or more, else the mean."""
    if len(values) >= 3:
        return float(np.median([value * weight for value, weight in zip(values, _WEIGHTS, strict=False)]))
    return float(np.mean(values))
