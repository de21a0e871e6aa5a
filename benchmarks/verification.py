"""Geometric verification of 40 queries against 4 candidates at 1024 x 768: Diptych against the published way.

`python benchmarks/verification.py [queries] [photos]` prints a table; with 40 queries it takes some minutes. The
published way is written anew here after the published description: every pair and every step reads and describes both
pictures. All rivals take turns query by query, with as many OpenCV threads. Candidates are crops of the photographs in
`photos` (by default ../shared/real/photos beside the checkout, ten of one building, which makes hard pairs), or drawn
textures where there are none; a query is a warped, dimmed, recompressed copy of one of its four. Pictures lie on disk.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from diptych.verification.feature_cache import KeypointCache
from diptych.verification.policy import Policy
from diptych.verification.published_policy import (
    PublishedPolicy,
    fourth_confidence,
    pair_confidence,
    three_confidence,
)
from diptych.verification.published_scores import Agreement, combine_scores, enhance, halved, template_score
from diptych.verification.verified_policy import VerifiedPolicy
from side_by_side import machine_line

PHOTOS = Path(__file__).resolve().parents[1] / "../shared/real/photos"
WIDTH, HEIGHT, NUM_QUERIES, NUM_CANDIDATES, NUM_THREADS = 1024, 768, 40, 4, 2
BASE = "published, described anew"


@dataclass(frozen=True)
class Case:
    """A query, its candidates in the order of the embedding, their scores, and the position of the right one."""

    query: Path
    candidates: tuple[Path, ...]
    scores: tuple[float, ...]
    right: int


# ------------------------------------------------------------------------------------------------ the published way


def read(path: Path) -> np.ndarray:
    """Pixels, BGR, from the disk each time."""
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)


def published_order(case: Case) -> list[int]:
    """Steps 2 to 4 of Beyond Vision's code, each pair from the files."""
    order = list(range(len(case.candidates)))
    first, second = (pair_agreement(case.query, case.candidates[position]) for position in (0, 1))
    confident = pair_confidence(first, second, abs(case.scores[0] - case.scores[1])) > 0.4
    if confident and max(first.inliers, second.inliers) >= 8 and second.total() > first.total():
        order[:2] = 1, 0
    quality = [pair_quality(case.query, case.candidates[position]) for position in order[:3]]
    if three_confidence(quality, 18) >= 0.25:
        biased = np.add(quality, (4.5, 3.0, 1.5))
        order[:3] = [order[place] for place in np.argsort(-biased, kind="stable")]
    first, fourth = (pair_quality(case.query, case.candidates[order[place]]) for place in (0, 3))
    if fourth_confidence(first, fourth, 18) >= 0.25:
        order[0], order[3] = order[3], order[0]
    return order


def pair_agreement(query: Path, candidate: Path) -> Agreement:
    """Step 2 of one pair."""
    pictures = [cv2.cvtColor(read(path), cv2.COLOR_BGR2GRAY) for path in (query, candidate)]
    found = []
    for detector, norm in (
        (cv2.ORB_create(2000, 1.2, 8), cv2.NORM_HAMMING),
        (cv2.SIFT_create(1000), cv2.NORM_L2),
    ):
        (left, right), good = matched(detector, norm, pictures, lambda n: 0.7 if n > 500 else 0.75)
        homography, mask = fit(left, right, good, 5.0) if min(len(left), len(right)) >= 10 else (None, None)
        if homography is None:
            found.append(Agreement())
            continue
        inliers = int(mask.sum())
        plausible = 0.1 < np.linalg.det(homography[:2, :2]) < 10
        score = min(1.0, inliers / 50) if plausible else 0.0
        spatial = grid_evenness(
            [left[m.queryIdx].pt for m, kept in zip(good, mask, strict=True) if kept], 4, pictures[0]
        )
        found.append(Agreement(inliers, inliers / len(good), score, spatial))
    orb, sift = found
    mixed = [
        0.6 * getattr(orb, name) + 0.4 * getattr(sift, name)
        for name in ("inlier_ratio", "homography_score", "spatial_consistency")
    ]
    return Agreement(max(orb.inliers, 0.8 * sift.inliers), *mixed)


def pair_quality(query: Path, candidate: Path) -> float:
    """The score of steps 3 and 4 of one pair."""
    pictures = []
    for picture in map(read, (query, candidate)):
        fine = enhance(picture, cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        pictures.append(cv2.cvtColor(fine, cv2.COLOR_BGR2GRAY))
    values = [orb_quality(pictures)]
    sift = cv2.SIFT_create(1200, 4, 0.03, 8, 1.6)
    (left, right), good = matched(sift, cv2.NORM_L2, pictures, lambda n: 0.7)
    homography, mask = fit(left, right, good, 4.0) if min(len(left), len(right)) >= 8 else (None, None)
    values.append(0.0 if homography is None else 0.85 * (0.8 * mask.sum() + 30 * mask.sum() / len(good)))
    if min(min(picture.shape) for picture in pictures) > 400:
        values.append(0.7 * orb_quality([halved(picture) for picture in pictures]))
    values.append(0.4 * template_score(*(cv2.resize(picture, (256, 256)) for picture in pictures)))
    return combine_scores(values)


def orb_quality(pictures: Sequence[np.ndarray]) -> float:
    """ORB's part of it."""
    orb = cv2.ORB_create(2500, 1.15, 10, 15, 0, 2, cv2.ORB_HARRIS_SCORE, 31)
    (left, right), good = matched(orb, cv2.NORM_HAMMING, pictures, lambda n: 0.8 if n < 300 else 0.75)
    if min(len(left), len(right)) < 12 or len(good) < 6:
        return 0.0
    homography, mask = fit(left, right, good, 3.5, maxIters=2000, confidence=0.995)
    if homography is None:
        return 0.0
    inliers = int(mask.sum())
    score = 0.6 * inliers + 40 * inliers / len(good)
    if inliers > 8 and 0.25 < np.linalg.det(homography[:2, :2]) < 4:
        score += 8
        if inliers > 10:
            points = [left[m.queryIdx].pt for m, kept in zip(good, mask, strict=True) if kept]
            score += 12 * grid_evenness(points, 6, pictures[0])
    return score


def matched(detector, norm: int, pictures: Sequence[np.ndarray], ratio: Callable[[int], float]):
    """Both sets of keypoints, and the matches that pass the ratio test."""
    (left, left_rows), (right, right_rows) = (detector.detectAndCompute(picture, None) for picture in pictures)
    if min(len(left), len(right)) < 2:
        return (left, right), []
    pairs = cv2.BFMatcher(norm).knnMatch(left_rows, right_rows, k=2)
    return (left, right), [first for first, second in pairs if first.distance < ratio(len(left)) * second.distance]


def fit(left, right, good, threshold: float, **limits: float):
    """The homography and which matches agree with it, or twice None."""
    if len(good) < 4:
        return None, None
    source = np.float32([left[match.queryIdx].pt for match in good])
    target = np.float32([right[match.trainIdx].pt for match in good])
    homography, mask = cv2.findHomography(source, target, cv2.RANSAC, threshold, **limits)
    return homography, None if homography is None else mask.ravel().astype(bool)


def grid_evenness(points: Sequence[tuple[float, float]], fewest: int, picture: np.ndarray) -> float:
    """How evenly points lie in a 4 x 4 grid."""
    if len(points) < fewest:
        return 0.0
    grid = np.zeros((4, 4))
    for x, y in points:
        grid[min(int(y * 4 / picture.shape[0]), 3), min(int(x * 4 / picture.shape[1]), 3)] += 1
    counts = grid[grid > 0]
    return len(counts) / 16 * float(np.exp(-counts.std() / len(points)))


# ------------------------------------------------------------------------------------------------ pictures


def draw_texture(seed: int) -> np.ndarray:
    """Filled polygons over noise whose amplitude falls with the frequency, as in photographs."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = np.inf
    layer = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(HEIGHT, WIDTH))) / frequency)
    picture = np.repeat((128 + 45 * layer / layer.std()).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    for _ in range(150):
        corners = rng.uniform(0, (WIDTH, HEIGHT)) + rng.normal(0, 25, (4, 2))
        cv2.fillPoly(picture, [np.int32(corners)], tuple(int(value) for value in rng.integers(0, 256, 3)))
    return picture


def warp(picture: np.ndarray, rng: np.random.Generator, kept: float, tilt: float) -> np.ndarray:
    """A part of the picture, `kept` of each side, turned and tilted, at 1024 x 768."""
    left, top = rng.uniform(0, 1 - kept, 2)
    corners = np.array([[left, top], [left + kept, top], [left + kept, top + kept], [left, top + kept]])
    corners = (corners + rng.uniform(-tilt, tilt, (4, 2))).clip(0, 1) * (picture.shape[1], picture.shape[0])
    target = np.float32([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]])
    matrix = cv2.getPerspectiveTransform(np.float32(corners), target)
    return cv2.warpPerspective(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC)


def make_cases(folder: Path, photos: Sequence[Path], num_queries: int) -> list[Case]:
    """Writes the pictures, query by query, none of which two queries share."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(num_queries):
        right = int(rng.integers(NUM_CANDIDATES))
        chosen = rng.choice(max(len(photos), NUM_CANDIDATES), NUM_CANDIDATES, replace=False)
        paths = [folder / f"{number:03d}_{place}.jpg" for place in range(NUM_CANDIDATES)]
        for place, path in enumerate(paths):
            source = read(photos[chosen[place]]) if photos else draw_texture(number * NUM_CANDIDATES + place)
            picture = warp(source, rng, rng.uniform(0.8, 1.0), 0.0)
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
            if place == right:
                copy = warp(picture, rng, rng.uniform(0.35, 0.8), 0.06) * rng.uniform(0.35, 0.9)
                query = folder / f"{number:03d}_query.jpg"
                copy = (copy + rng.normal(0, 6, copy.shape)).clip(0, 255).astype(np.uint8)
                cv2.imwrite(str(query), copy, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 60))])
        scores = tuple(float(score) for score in -np.sort(-rng.uniform(0.85, 0.95, NUM_CANDIDATES)))
        cases.append(Case(query, tuple(paths), scores, right))
    return cases


# ------------------------------------------------------------------------------------------------ the race


def ours(policy: Policy, cache: Path | None = None) -> Callable[[Case], list[int]]:
    """Each picture described once, from the cache where it is."""
    features = KeypointCache(cache, policy)

    def order(case: Case) -> list[int]:
        described = [features.describe(path) for path in case.candidates]
        return list(policy.rerank(features.describe(case.query), described, case.scores).order)

    return order


def main() -> None:
    """Prints seconds a query, ratios, and how far the decisions agree."""
    num_queries = int(sys.argv[1]) if len(sys.argv) > 1 else NUM_QUERIES
    photos = sorted((Path(sys.argv[2]) if len(sys.argv) > 2 else PHOTOS).glob("*.jpg"))
    cv2.setNumThreads(NUM_THREADS)
    torch.set_num_threads(1)  # products of small matrices, which only ours has
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(Path(folder), photos, num_queries)
        rivals = {
            BASE: published_order,
            "policy published": ours(PublishedPolicy()),
            "policy published, 640": ours(PublishedPolicy(max_side=640)),
            "policy verified": ours(VerifiedPolicy(), Path(folder) / "cache"),
            "policy verified, again": ours(VerifiedPolicy(), Path(folder) / "cache"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in rivals}
        orders: dict[str, list[list[int]]] = {name: [] for name in rivals}
        published_order(cases[0])  # unmeasured: the first calls load code
        for case in cases:
            for name, order in rivals.items():
                start = time.perf_counter()
                orders[name].append(order(case))
                seconds[name].append(time.perf_counter() - start)
    print(f"{machine_line()}, OpenCV {cv2.__version__}, {NUM_THREADS} threads")
    kind = f"crops of {len(photos)} photographs" if photos else "drawn"
    print(f"{num_queries} queries x {NUM_CANDIDATES} candidates, {WIDTH} x {HEIGHT}, {kind}; median seconds of a query")
    kept = sum(case.right == 0 for case in cases) / num_queries
    print(f"the right candidate is first in {kept:.3f} of the queries before verification\n")
    print(
        f"{'way':28}{'s/query':>9}{'ratio':>8}{'right first':>13}{'first as published':>20}{'order as published':>20}"
    )
    base = statistics.median(seconds[BASE])
    for name in rivals:
        median = statistics.median(seconds[name])
        right = np.mean([order[0] == case.right for order, case in zip(orders[name], cases, strict=True)])
        pairs = list(zip(orders[name], orders[BASE], strict=True))
        first, whole = (np.mean([a[:k] == b[:k] for a, b in pairs]) for k in (1, NUM_CANDIDATES))
        print(f"{name:28}{median:9.3f}{base / median:8.1f}{right:13.3f}{first:20.3f}{whole:20.3f}")
    first_run, second_run = (statistics.median(seconds[f"policy verified{end}"]) for end in ("", ", again"))
    print(f"\nverified over cached features: {first_run / second_run:.1f} times faster than the first run")


if __name__ == "__main__":
    main()
