from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from diptych.verification.features import Orb, Sift
from diptych.verification.policy import DEGENERATE, TOO_FEW_FEATURES, UNREADABLE, VERIFIED, Finding, is_confirmed
from diptych.verification.verified_policy import VerifiedPolicy

POLICY = VerifiedPolicy()


class Findings(VerifiedPolicy):
    """Candidates are findings already."""

    def compare(self, query, candidate):
        return UNREADABLE_FINDING if candidate is None else candidate


UNREADABLE_FINDING = Finding(UNREADABLE, {})


def finding(effective: float, inliers: int = 50) -> Finding:
    return Finding(VERIFIED, {"inliers": inliers, "effective_inliers": effective})


def order(*candidates, **settings):
    return list(Findings(**settings).rerank({}, candidates, [0.0] * len(candidates)).order)


def test_who_passes_whom():
    assert order(finding(0), finding(90), finding(30)) == [1, 2, 0]
    assert order(finding(30), finding(90), finding(0)) == [1, 0, 2]
    assert order(finding(80), finding(90), finding(0)) == [0, 1, 2], "a margin of 0.1 is no confidence"
    assert order(finding(0, 3), finding(30, 7)) == [0, 1], "seven inliers are too few"
    assert order(finding(0, 3), finding(30, 8)) == [1, 0]
    assert order(finding(0, 3), finding(1.3, 9)) == [0, 1], "1.3 / (1.3 + 2) is below 0.4"
    assert order(finding(0, 3), finding(1.4, 9)) == [1, 0]
    assert order(finding(80), finding(90), min_confidence=0.1) == [1, 0]
    assert order(finding(80), finding(80), min_confidence=0.0) == [0, 1]
    assert order(finding(0, 3), finding(30, 8), min_inliers=9) == [0, 1]
    assert order(finding(0), finding(90), finding(300)) == [2, 1, 0]
    assert order(finding(0), Finding(TOO_FEW_FEATURES, {}), finding(30)) == [2, 0, 1]
    assert order() == []


def test_nobody_gains_by_anothers_absence():
    assert order(None, finding(90)) == [0, 1]
    assert order(finding(0), None, finding(90)) == [0, 1, 2]
    assert order(finding(0), finding(90), None, finding(0), finding(30)) == [1, 0, 2, 4, 3]


@pytest.mark.parametrize("detector", [Sift(), Orb()])
def test_the_copy_of_a_drawn_picture_comes_first(draw, reworked, detector):
    policy = VerifiedPolicy(detector=detector)
    pictures = [draw(seed) for seed in range(4)]
    described = [policy.describe(picture) for picture in pictures]
    for truth, picture in enumerate(pictures):
        query = policy.describe(reworked(picture, truth))
        for ranking in list(permutations(range(4)))[::5]:
            verdict = policy.rerank(query, [described[position] for position in ranking], [0.0] * 4)
            others = [position for position in ranking if position != truth]
            assert [ranking[position] for position in verdict.order] == [truth, *others]
            assert verdict.moved == (ranking[0] != truth)


@pytest.mark.slow
def test_the_copy_of_a_photograph_comes_first_among_photographs_of_the_building(photos, reworked):
    described = [POLICY.describe(photo) for photo in photos]
    for truth, photo in enumerate(photos):
        query = POLICY.describe(reworked(photo, truth))
        ranking = [position for position in range(len(photos)) if position != truth] + [truth]
        verdict = POLICY.rerank(query, [described[position] for position in ranking], [0.0] * len(ranking))
        assert ranking[verdict.order[0]] == truth


def test_every_outcome(draw, reworked):
    picture, other = draw(1), draw(2)
    known = POLICY.describe(picture)
    copy = POLICY.compare(POLICY.describe(reworked(picture, 3)), known)
    assert copy.outcome == VERIFIED
    assert copy.measures["inliers"] >= 30
    assert copy.measures["inlier_ratio"] > 0.6
    assert copy.measures["spread"] > 0.8
    assert copy.measures["score"] > 0.9
    stranger = POLICY.compare(POLICY.describe(other), known)
    assert stranger.outcome in (VERIFIED, DEGENERATE)
    assert stranger.measures["inliers"] < 8
    flat, tiny = np.full((300, 400, 3), 90, np.uint8), picture[:9, :12]
    for nothing in (flat, tiny):
        assert POLICY.compare(POLICY.describe(nothing), known) == Finding(TOO_FEW_FEATURES, {})
        assert POLICY.compare(known, POLICY.describe(nothing)) == Finding(TOO_FEW_FEATURES, {})
    assert POLICY.compare(None, known) == POLICY.compare(known, None) == Finding(UNREADABLE, {})
    mirrored = VerifiedPolicy(ratio=1.0).compare(squeezed(known), known)
    assert mirrored.outcome == DEGENERATE
    assert mirrored.measures["inliers"] == 0
    assert mirrored.measures["score"] == 0


def squeezed(description):
    """The same descriptors with all keypoints on one line."""
    keypoints = description["features.keypoints"].copy()
    keypoints[:, 1] = 100
    return {**description, "features.keypoints": keypoints}


def test_unusual_copies_are_found(draw):
    picture = draw(1)
    known = POLICY.describe(picture)
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    huge = picture.repeat(6, axis=0).repeat(6, axis=1)
    for copy in (grey, huge, (picture * 0.3).astype(np.uint8), np.rot90(picture)):
        found = POLICY.compare(POLICY.describe(np.ascontiguousarray(copy)), known)
        assert found.outcome == VERIFIED
        assert found.measures["inliers"] > 50


def test_settings_that_cannot_be():
    for wrong in ({"ratio": 1.5}, {"min_confidence": -0.1}, {"depth": 0}, {"max_side": 8}, {"min_inliers": 3}):
        with pytest.raises(ValueError, match=f"policy verified: {next(iter(wrong))} is "):
            VerifiedPolicy(**wrong)


@pytest.mark.parametrize(
    ("findings", "confirmed"),
    [
        ([], False),
        ([{"outcome": "unreadable"}], False),
        ([{"inliers": 7}], False),
        ([{"inliers": 8}], True),
        ([{"inliers": 8}, {"inliers": 9}], False),
        ([{"inliers": 8}, {"outcome": "too_few_features"}, {"inliers": 8}], True),
        ([{"inliers": 8, "effective_inliers": 3.0}, {"inliers": 9, "effective_inliers": 2.0}], True),
        ([{"inliers": 9, "effective_inliers": 2.0}, {"inliers": 8, "effective_inliers": 3.0}], False),
    ],
)
def test_an_order_is_confirmed_by_what_was_seen_of_its_first(findings, confirmed):
    assert is_confirmed(findings, min_inliers=8) is confirmed
