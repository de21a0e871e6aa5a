"""Which keypoints of two pictures belong together, and whether one camera movement over a plane explains them.

Everything here gives the same bits on every run and for any number of threads: distances between descriptors are whole
numbers, and the random numbers of RANSAC start from a fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from diptych.verification.features import Features

_GRID = 4  # cells along each side, in which inliers are counted (4 in Beyond Vision's code)
_ORB_BYTES = 32
_FEWEST_FOR_HOMOGRAPHY = 4
_SEED = 0
# A homography that shrinks or enlarges more than this between two pictures of one long side is none of a photograph.
_LARGEST_SCALE = 10.0


@dataclass(frozen=True, eq=False)
class Homography:
    """`matrix` (3, 3) takes query points to candidate points; `inliers` (M,) bool tells which matches agree with it."""

    matrix: np.ndarray
    inliers: np.ndarray


def match_descriptors(query: Features, candidate: Features, ratio: float, mutual: bool = False) -> np.ndarray:
    """Matches (M, 2) int64: positions of a query keypoint and of the candidate keypoint nearest to it.

    Lowe's ratio test keeps a keypoint whose nearest neighbour is closer than `ratio` times the second nearest. With
    `mutual` the query keypoint must also be the nearest one to its match, so that no keypoint is matched twice.
    Distances are Hamming's for ORB and Euclid's for SIFT.
    """
    if len(query) == 0 or len(candidate) < 2:
        return np.zeros((0, 2), np.int64)
    nearest, positions = _nearest(query.descriptors, candidate.descriptors, 2)
    kept = nearest[:, 0] < ratio * nearest[:, 1]
    if mutual and kept.any():
        targets, target_of = np.unique(positions[kept, 0], return_inverse=True)
        _, back = _nearest(candidate.descriptors[targets], query.descriptors, 1)
        kept[kept] = back[target_of, 0] == np.flatnonzero(kept)
    return np.column_stack([np.flatnonzero(kept), positions[kept, 0]]).astype(np.int64)


def _nearest(left: np.ndarray, right: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances float64 and positions (N, count) of the nearest rows of `right`, of which there are that many.

    The distances are those of OpenCV's brute-force matcher to the bit. SIFT's come from one product of matrices,
    several times faster: bytes and sums of their products are whole numbers below 2^24, which float32 adds exactly in
    any order.
    """
    if left.shape[1] == _ORB_BYTES:
        distances, nearest = cv2.batchDistance(left, right, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=count)
        return distances.astype(np.float64), nearest
    rows, columns = left.astype(np.float32), right.astype(np.float32)
    squares = torch.mm(torch.from_numpy(rows), torch.from_numpy(columns).T).numpy()
    squares *= -2
    squares += (rows * rows).sum(axis=1)[:, None]
    squares += (columns * columns).sum(axis=1)
    every = np.arange(len(rows))
    found: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    for _ in range(count):
        positions.append(squares.argmin(axis=1))
        found.append(squares[every, positions[-1]])
        squares[every, positions[-1]] = np.inf
    return np.sqrt(np.stack(found, axis=1)).astype(np.float64), np.stack(positions, axis=1)


def ransac_homography(
    query_points: np.ndarray,
    candidate_points: np.ndarray,
    threshold: float,
    max_iterations: int = 2000,
    confidence: float = 0.995,
) -> Homography | None:
    """OpenCV's own RANSAC, whose seed is fixed, on matched points (M, 2); None where it finds nothing.

    `threshold` is in pixels of the candidate; the limits are OpenCV's own unless others are given.
    """
    if len(query_points) < _FEWEST_FOR_HOMOGRAPHY:
        return None
    matrix, mask = cv2.findHomography(
        query_points,
        candidate_points,
        cv2.RANSAC,
        threshold,
        maxIters=max_iterations,
        confidence=confidence,
    )
    return None if matrix is None else Homography(matrix, mask.ravel().astype(bool))


def usac_homography(query_points: np.ndarray, candidate_points: np.ndarray, threshold: float) -> Homography | None:
    """A homography by USAC with the MAGSAC++ score (Barath et al., CVPR 2020), on matched points (M, 2).

    `threshold` is in pixels of the candidate. None where it finds nothing.
    """
    if len(query_points) < _FEWEST_FOR_HOMOGRAPHY:
        return None
    settings = cv2.UsacParams()
    settings.threshold = threshold
    settings.confidence = 0.999
    settings.maxIterations = 2000
    settings.score = cv2.SCORE_METHOD_MAGSAC
    settings.loMethod = cv2.LOCAL_OPTIM_SIGMA
    settings.sampler = cv2.SAMPLING_UNIFORM
    settings.randomGeneratorState = _SEED
    settings.isParallel = False
    matrix, mask = cv2.findHomography(query_points, candidate_points, settings)
    return None if matrix is None else Homography(matrix, mask.ravel().astype(bool))


def is_plausible(matrix: np.ndarray, query: Features, candidate: Features) -> bool:
    """Whether a camera can have made one picture of the other's scene: the query's frame stays a convex quadrangle,
    is not mirrored, no part of it passes the horizon, and it is scaled by less than 10 either way.
    """
    width, height = query.width, query.height
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    projected = corners @ matrix.T
    if not np.isfinite(projected).all() or not (projected[:, 2] * matrix[2, 2] > 0).all():
        return False
    frame = projected[:, :2] / projected[:, 2:]
    sides = np.roll(frame, -1, axis=0) - frame
    following = np.roll(sides, -1, axis=0)
    if not (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] > 0).all():
        return False
    x, y = frame.T
    area = 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
    scale = np.sqrt(area / (width * height)) * max(width, height) / max(candidate.width, candidate.height)
    return bool(1 / _LARGEST_SCALE < scale < _LARGEST_SCALE)


def occupied_cells(points: np.ndarray, features: Features) -> np.ndarray:
    """How many of the points (M, 2) lie in each cell of a 4 x 4 grid over the picture that has any, (num_occupied,)."""
    cells = (points * (_GRID / np.array([features.width, features.height]))).astype(np.int64).clip(0, _GRID - 1)
    return np.unique(cells[:, 1] * _GRID + cells[:, 0], return_counts=True)[1]


def spread(query_points: np.ndarray, candidate_points: np.ndarray, query: Features, candidate: Features) -> float:
    """The share of a 4 x 4 grid that the points occupy, in the picture where they occupy more of it; 0 without points.

    A cut-out of the other picture is covered all over; a logo that both carry covers little of either.
    """
    if len(query_points) == 0:
        return 0.0
    sides = ((query_points, query), (candidate_points, candidate))
    return max(len(occupied_cells(points, features)) for points, features in sides) / _GRID**2
