from __future__ import annotations

import cv2
import numpy as np
import pytest

from diptych.verification.features import Features
from diptych.verification.policy import TOO_FEW_FEATURES, UNREADABLE, VERIFIED, Finding
from diptych.verification.published_policy import (
    PublishedPolicy,
    fourth_confidence,
    pair_confidence,
    three_confidence,
)
from diptych.verification.published_scores import (
    Agreement,
    combine_scores,
    enhance,
    spatial_consistency,
    template_score,
)

pytestmark = pytest.mark.slow

POLICY = PublishedPolicy()


@pytest.fixture
def described(draw, reworked):
    """Drawn pictures 0 to 3 by number, and the query, a copy of picture 2."""
    pictures = {number: POLICY.describe(draw(number)) for number in range(4)}
    return pictures, POLICY.describe(reworked(draw(2), 7))


def order_of(described, *numbers, policy=POLICY, scores=(0.9, 0.8, 0.7, 0.6)):
    pictures, query = described
    candidates = [None if number is None else pictures[number] for number in numbers]
    return [numbers[position] for position in policy.rerank(query, candidates, scores[: len(numbers)]).order]


def test_the_copy_comes_first_from_any_place(described):
    assert order_of(described, 2, 0, 1, 3) == [2, 0, 1, 3]
    assert order_of(described, 0, 2, 1, 3) == [2, 0, 1, 3]
    assert order_of(described, 0, 1, 2, 3)[0] == 2
    assert order_of(described, 0, 1, 3, 2) == [2, 1, 3, 0], "the first and the fourth are exchanged"
    assert order_of(described, 0, 2) == [2, 0]
    assert order_of(described, 2) == [2]


def test_a_step_needs_all_its_pictures(described):
    assert order_of(described, 0, None, 2, 1) == [0, None, 2, 1]
    assert order_of(described, 0, 1, None, 2) == [2, 1, None, 0], "step 4 does not look at the third"
    assert order_of(described, 0, 2, None, 1) == [2, 0, None, 1], "nor does step 2"
    assert order_of(described, None, 0, 1, 2) == [None, 0, 1, 2], "nobody wins by the first one's absence"
    assert order_of((described[0], None), 0, 1, 2, 3) == [0, 1, 2, 3]


def test_settings(described):
    off = PublishedPolicy(min_confidence=2.0, refine_confidence=2.0)
    assert order_of(described, 0, 2, 1, 3, policy=off) == [0, 2, 1, 3]
    assert order_of(described, 0, 2, 1, 3, policy=PublishedPolicy(min_confidence=2.0, refine_quality=1e9)) == [
        0,
        2,
        1,
        3,
    ]
    assert order_of(described, 0, 2, 1, 3, policy=PublishedPolicy(refine_confidence=2.0)) == [2, 0, 1, 3]
    assert PublishedPolicy(max_side=640).recipe() != POLICY.recipe()


def test_findings(described):
    pictures, query = described
    flat = POLICY.describe(np.full((300, 400, 3), 90, np.uint8))
    verdict = POLICY.rerank(query, [flat, pictures[2], None, pictures[1]], [0.9, 0.8, 0.7, 0.6])
    outcomes = [finding.outcome for finding in verdict.findings]
    assert outcomes == [TOO_FEW_FEATURES, VERIFIED, UNREADABLE, VERIFIED]
    assert verdict.findings[0] == Finding(TOO_FEW_FEATURES, {})
    assert set(verdict.findings[1].measures) == {*Agreement.__dataclass_fields__, "quality"}
    assert set(verdict.findings[3].measures) == {"quality"}


def test_half_size_only_above_400_pixels(draw):
    assert "half_orb.size" not in POLICY.describe(draw(1))
    large = POLICY.describe(cv2.resize(draw(1), (640, 480)))
    assert large["half_orb.size"].tolist() == [320, 240]
    small = PublishedPolicy(max_side=320).describe(draw(1))
    assert small["pair_orb.size"].tolist() == [320, 240]
    assert small["thumbnail"].shape == (256, 256)


def test_confidence_of_the_pair():
    none = Agreement()
    assert pair_confidence(none, none, 0.1) == pytest.approx(-0.3)
    strong = Agreement(30, 0.9, 0.6, 0.8)
    assert pair_confidence(none, strong, 0.1) == pytest.approx(0.4 + 0.3 - 0.3 + 0.1)
    assert pair_confidence(strong, none, 0.009) == pytest.approx(0.4 + 0.3 - 0.3 + 0.1 + 0.2)
    assert pair_confidence(Agreement(19, 0.8, 0.3, 0.6), strong, 0.1) == pytest.approx(0.2 + 0.2)
    assert pair_confidence(Agreement(10, 0.5, 0.3, 0.6), strong, 0.1) == pytest.approx(0.2 + 0.3)
    assert strong.total() == pytest.approx(30 + 90 + 30)


def test_confidence_of_the_three():
    assert three_confidence([40, 30, 20], 18) == 0
    assert three_confidence([2, 17, 3], 18) == 0
    assert three_confidence([20, 27, 3], 18) == 0
    assert three_confidence([20, 28.5, 22], 18) == pytest.approx(0.4 + 0.2)
    assert three_confidence([20, 22, 28.5], 18) == pytest.approx(0.4 + 0.2 - 0.1)
    assert three_confidence([0, 60, 0], 18) == pytest.approx(0.4 + 0.3 + 0.2 + 0.1)
    assert three_confidence([100, 109, 100], 18) == pytest.approx(0.3)
    assert three_confidence([0.0, 60.0], 18) == pytest.approx(0.4 + 0.3 + 0.2)


def test_confidence_of_the_fourth():
    assert fourth_confidence(10, 17.9, 18) == fourth_confidence(20, 27.9, 18) == 0
    assert fourth_confidence(0, 18, 18) == pytest.approx(0.5 + 0.1 - 0.15)
    assert fourth_confidence(40, 49, 18) == pytest.approx(0.4 + 0.3 - 0.15)
    assert fourth_confidence(100, 108, 18) == pytest.approx(0.3 - 0.15)
    assert fourth_confidence(1, 90, 18) == pytest.approx(0.5 + 0.3 + 0.2 - 0.15)


def test_combination_weights_twice():
    assert combine_scores([10, 8.5, 7, 4]) == pytest.approx((4.9 + 7.225) / 2)
    assert combine_scores([10, 8.5, 4]) == pytest.approx(7.225)
    assert combine_scores([10, 4]) == 7


def test_spatial_consistency():
    frame = Features(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros((0, 32), np.uint8), 400, 400)
    points = np.float32([[50, 50], [150, 50], [250, 50], [350, 50], [60, 60], [70, 70]])
    assert spatial_consistency(points, frame, 6) == pytest.approx(4 / 16 * np.exp(-np.std([3, 1, 1, 1]) / 6))
    assert spatial_consistency(points, frame, 7) == 0


def test_template_score(draw):
    left, right = (cv2.resize(cv2.cvtColor(draw(seed), cv2.COLOR_BGR2GRAY), (256, 256)) for seed in (1, 2))
    assert template_score(left, left) == pytest.approx(35, abs=0.01)
    assert 0 <= template_score(left, 255 - left) < template_score(left, right) < 25


def test_enhancement_depends_on_the_picture(draw):
    picture = draw(1)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    smooth = cv2.bilateralFilter(picture, 5, 25, 25)
    assert np.array_equal(enhance(picture, grey), smooth), "contrasty, sharp: only smoothed"
    dark = (picture * 0.2).astype(np.uint8)
    assert enhance(dark, cv2.cvtColor(dark, cv2.COLOR_BGR2GRAY)).mean() > 1.3 * dark.mean()
    blurred = cv2.GaussianBlur(picture, (0, 0), 4)
    grey = cv2.cvtColor(blurred, cv2.COLOR_BGR2GRAY)
    assert cv2.Laplacian(enhance(blurred, grey), cv2.CV_64F).var() > cv2.Laplacian(blurred, cv2.CV_64F).var()
