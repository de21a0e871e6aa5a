"""How much of an archive photo its query photo shows, and how sharply."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from diptych.synthetic.newsroom.generate import NewsroomSettings
from diptych.synthetic.newsroom.query_photos import rework_photo, sample_rework


def rng(seed=0):
    return np.random.default_rng(seed)


def test_what_is_drawn_without_a_share_is_what_it_always_was():
    found = sample_rework(rng()).to_json()
    assert found == {
        "corners": ((0.1174, 0.0397), (0.9969, 0.0668), (0.9726, 1.0), (0.0597, 0.9752)),
        "width": 347,
        "brightness": 1.069,
        "quality": 46,
    }
    settings = NewsroomSettings().manifest()
    assert "kept_share" not in settings and "blur" not in settings
    assert NewsroomSettings(kept_share=0.5, blur=0.01).manifest() == settings | {"kept_share": 0.5, "blur": 0.01}


@pytest.mark.parametrize("share", [0.9, 0.7, 0.5, 0.35])
def test_a_share_of_each_side_is_kept_and_all_else_is_drawn_alike(share):
    middles = []
    for seed in range(20):
        plain, cut = sample_rework(rng(seed)), sample_rework(rng(seed), share)
        assert replace(cut, corners=plain.corners) == plain
        corners = np.array(cut.corners)
        assert corners.min() >= 0 and corners.max() <= 1
        # Both ends are jittered by up to 0.015; the tilt, of up to 3 degrees, and the frame take a little.
        for first, second in ((0, 1), (3, 2), (0, 3), (1, 2)):
            assert np.linalg.norm(corners[second] - corners[first]) == pytest.approx(share, abs=0.09)
        middles.append(corners.mean(0))
    assert np.ptp(middles, axis=0).min() > 0.5 * (1 - share)  # it is not always the same part


def test_a_blur_takes_edges_away_and_nothing_else():
    photo = rng().integers(0, 256, (60, 80, 3), dtype=np.uint8)
    sharp, soft = (rework_photo(photo, sample_rework(rng(), blur=blur)) for blur in (0.0, 0.02))
    assert sharp.shape == soft.shape
    edges = [cv2.Laplacian(picture, cv2.CV_64F).std() for picture in (sharp, soft)]
    assert edges[1] < edges[0] / 2 and abs(sharp.mean() - soft.mean()) < 2


@pytest.mark.parametrize("settings", [{"kept_share": 0}, {"kept_share": 1.2}, {"blur": -0.1}, {"blur": 1}])
def test_shares_that_make_no_photo_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        NewsroomSettings(**settings)
