from __future__ import annotations

import cv2
import numpy as np
import pytest

from diptych.verification.features import Features, Orb, Sift
from diptych.verification.matching import (
    is_plausible,
    match_descriptors,
    occupied_cells,
    ransac_homography,
    spread,
    usac_homography,
)

FRAME = Features(np.zeros((0, 2), np.float32), np.zeros(0), np.zeros(0), np.zeros((0, 32), np.uint8), 400, 300)


@pytest.mark.parametrize(("detector", "norm"), [(Sift(), cv2.NORM_L2), (Orb(), cv2.NORM_HAMMING)])
@pytest.mark.parametrize("ratio", [0.7, 0.8])
def test_matches_are_those_of_the_brute_force_matcher(draw, reworked, detector, norm, ratio):
    picture = draw(1)
    left, right = (detector.detect(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)) for p in (reworked(picture, 5), picture))
    floats = [f.descriptors.astype(np.float32) if norm == cv2.NORM_L2 else f.descriptors for f in (left, right)]
    pairs = cv2.BFMatcher(norm).knnMatch(*floats, k=2)
    expected = [(first.queryIdx, first.trainIdx) for first, second in pairs if first.distance < ratio * second.distance]
    assert len(expected) > 20
    assert match_descriptors(left, right, ratio).tolist() == [list(pair) for pair in expected]
    back = {match.queryIdx: match.trainIdx for match in cv2.BFMatcher(norm).match(floats[1], floats[0])}
    mutual = [[a, b] for a, b in expected if back[b] == a]
    assert match_descriptors(left, right, ratio, mutual=True).tolist() == mutual


def test_no_matches_without_two_to_choose_from(draw):
    features = Sift(num_features=20).detect(cv2.cvtColor(draw(1), cv2.COLOR_BGR2GRAY))
    assert match_descriptors(FRAME, FRAME, 0.8).shape == (0, 2)
    one = Features(features.points[:1], features.sizes, features.angles, features.descriptors[:1], 480, 360)
    assert match_descriptors(features, one, 0.8).shape == (0, 2)


@pytest.mark.parametrize("threads", [1, 2])
def test_homography_is_found_among_outliers_and_is_the_same_each_time(threads):
    cv2.setNumThreads(threads)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 400, (80, 2)).astype(np.float32)
    matrix = np.array([[0.9, 0.1, 20], [-0.1, 1.1, 5], [1e-4, 2e-4, 1]])
    moved = cv2.perspectiveTransform(points[None], matrix)[0]
    moved[:40] = rng.uniform(0, 400, (40, 2))
    for find in (lambda: ransac_homography(points, moved, 3.0), lambda: usac_homography(points, moved, 3.0)):
        found = [find() for _ in range(3)]
        assert np.abs(found[0].matrix - matrix).max() < 0.02 * np.abs(matrix).max()
        assert found[0].inliers[40:].all()
        assert found[0].inliers[:40].sum() <= 1
        for other in found[1:]:
            assert np.array_equal(other.matrix, found[0].matrix)
            assert np.array_equal(other.inliers, found[0].inliers)


def test_no_homography():
    points = np.float32([[0, 0], [10, 0], [20, 0]])
    assert ransac_homography(points, points, 3.0) is None
    assert usac_homography(points, points, 3.0) is None


def test_plausible_homographies():
    same, half_turn = np.eye(3), np.array([[-1.0, 0, 400], [0, -1, 300], [0, 0, 1]])
    for matrix in (same, half_turn, np.diag([0.2, 0.2, 1.0]), -same):
        assert is_plausible(matrix, FRAME, FRAME)
    mirrored, collapsed = (
        np.array([[-1.0, 0, 400], [0, 1, 0], [0, 0, 1]]),
        np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]),
    )
    horizon = np.array([[1.0, 0, 0], [0, 1, 0], [-0.004, 0, 1]])
    for matrix in (mirrored, collapsed, horizon, np.diag([0.05, 0.05, 1.0]), np.diag([30.0, 30, 1]), same * np.nan):
        assert not is_plausible(matrix, FRAME, FRAME)


def test_spread_counts_cells():
    points = np.float32([[0, 0], [1, 1], [399.9, 299.9], [400, 300], [150, 10]])
    assert occupied_cells(points, FRAME).tolist() == [2, 1, 2]
    elsewhere = np.float32([[10, 10]] * 5)
    assert spread(points, elsewhere, FRAME, FRAME) == spread(elsewhere, points, FRAME, FRAME) == 3 / 16
    assert spread(points[:0], points[:0], FRAME, FRAME) == 0
