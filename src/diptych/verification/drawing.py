"""A picture for people: a query and a candidate side by side, with lines between the keypoints that agree."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from diptych.photos.picture_data import UnreadablePicture
from diptych.verification.features import Features, Sift, cap_long_side, read_picture
from diptych.verification.matching import is_plausible, match_descriptors, usac_homography

_MAX_SIDE = 480
_RATIO, _THRESHOLD = 0.8, 2.0  # those of the policy `verified`
_MOST_LINES = 60
_INLIER, _OUTLIER = (80, 200, 60), (60, 60, 220)  # BGR


def draw_matches(query_path: str | Path, candidate_path: str | Path) -> np.ndarray | None:
    """Pixels (H, W, 3) uint8 BGR: SIFT matches that agree with the homography in green, others in red; 60 lines of
    each at most, spread over all. The caption counts them. None where a file is unreadable.
    """
    try:
        pictures = [cap_long_side(read_picture(path), _MAX_SIDE) for path in (query_path, candidate_path)]
    except UnreadablePicture:
        return None
    query, candidate = (Sift().detect(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)) for picture in pictures)
    matches = match_descriptors(query, candidate, _RATIO, mutual=True)
    inliers = _inliers(query, candidate, matches)
    canvas = _side_by_side(*pictures)
    shift = np.array([pictures[0].shape[1], 0])
    for colour, chosen in ((_OUTLIER, matches[~inliers]), (_INLIER, matches[inliers])):
        for left, right in chosen[:: 1 + len(chosen) // _MOST_LINES]:
            start, end = query.points[left], candidate.points[right] + shift
            cv2.line(canvas, _pixel(start), _pixel(end), colour, 1, cv2.LINE_AA)
            cv2.circle(canvas, _pixel(start), 3, colour, 1, cv2.LINE_AA)
            cv2.circle(canvas, _pixel(end), 3, colour, 1, cv2.LINE_AA)
    text = f"{len(matches)} matches, {int(inliers.sum())} agree"
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    cv2.rectangle(canvas, (0, 0), (width + 12, height + 14), (0, 0, 0), cv2.FILLED)
    cv2.putText(canvas, text, (6, height + 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def _inliers(query: Features, candidate: Features, matches: np.ndarray) -> np.ndarray:
    homography = usac_homography(query.points[matches[:, 0]], candidate.points[matches[:, 1]], _THRESHOLD)
    if homography is None or not is_plausible(homography.matrix, query, candidate):
        return np.zeros(len(matches), bool)
    return homography.inliers


def _side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    canvas = np.zeros((max(len(left), len(right)), left.shape[1] + right.shape[1], 3), np.uint8)
    canvas[: len(left), : left.shape[1]] = left
    canvas[: len(right), left.shape[1] :] = right
    return canvas


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
