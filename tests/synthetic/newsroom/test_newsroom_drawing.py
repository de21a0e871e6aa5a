from dataclasses import replace

import cv2
import numpy as np
import pytest

from diptych.synthetic.newsroom.casting import sample_events
from diptych.synthetic.newsroom.drawing import DRAWERS, HEIGHT, WIDTH, draw_photo, sample_shot
from diptych.synthetic.newsroom.kinds import KINDS
from diptych.synthetic.newsroom.query_photos import rework_photo, sample_rework
from diptych.synthetic.newsroom.scene import COLOURS, sample_scene


@pytest.fixture(scope="module")
def scenes():
    events = sample_events(0, {"train": 12, "val": 1, "test": 1})[:48:4]
    return {event.kind: sample_scene(event, np.random.default_rng(event.number)) for event in events}


def _inliers(one, other):
    """Matches of ORB keypoints that one homography explains."""
    orb = cv2.ORB_create(nfeatures=1000)
    (points, first), (others, second) = (
        orb.detectAndCompute(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), None) for picture in (one, other)
    )
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(first, second, k=2)
    good = [a for a, b in pairs if a.distance < 0.75 * b.distance]
    if len(good) < 8:
        return 0
    source = np.float32([points[match.queryIdx].pt for match in good])
    target = np.float32([others[match.trainIdx].pt for match in good])
    cv2.setRNGSeed(0)
    _, mask = cv2.findHomography(source, target, cv2.RANSAC, 5.0)
    return 0 if mask is None else int(mask.sum())


def test_every_kind_is_drawn(scenes):
    assert set(DRAWERS) == set(KINDS) == set(scenes)


@pytest.mark.parametrize("kind", KINDS)
def test_photos_are_deterministic_and_full(scenes, kind):
    shot = sample_shot(np.random.default_rng(0))
    photo = draw_photo(scenes[kind], shot)
    assert photo.shape == (HEIGHT, WIDTH, 3) and photo.dtype == np.uint8
    np.testing.assert_array_equal(photo, draw_photo(scenes[kind], shot))
    assert photo.std() > 25


@pytest.mark.parametrize("kind", KINDS)
def test_query_photos_match_their_archive_photo_and_no_other(scenes, kind):
    rng = np.random.default_rng(1)
    photo = draw_photo(scenes[kind], sample_shot(rng))
    query = rework_photo(photo, sample_rework(rng))
    other = draw_photo(replace(scenes[kind], look_seed=5, detail_seed=6), sample_shot(rng))
    same, different = _inliers(query, photo), _inliers(query, other)
    assert same >= 40 and same > 3 * different, (same, different)


def test_colour_of_the_scene_changes_the_photo(scenes):
    shot = replace(sample_shot(np.random.default_rng(2)), noise=0.0)
    for kind, scene in scenes.items():
        one, other = (draw_photo(replace(scene, colour=colour), shot).astype(float) for colour in ("red", "blue"))
        assert (np.abs(one - other).max(-1) > 60).mean() > 0.004, kind
    assert len(COLOURS) == 7


def test_events_of_one_town_share_their_houses(scenes):
    scene, shot = scenes["flood"], sample_shot(np.random.default_rng(3))
    photo = draw_photo(scene, shot)
    same_town = draw_photo(replace(scene, detail_seed=9), shot)
    other_town = draw_photo(replace(scene, look_seed=9), shot)
    houses = np.s_[60:140]
    differences = [np.abs(photo[houses].astype(float) - other[houses]).mean() for other in (same_town, other_town)]
    assert differences[0] < differences[1] / 2


def test_rework_keeps_most_of_the_photo_and_shrinks_it():
    rng = np.random.default_rng(0)
    photo = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for _ in range(30):
        rework = sample_rework(rng)
        corners = np.array(rework.corners)
        assert (corners >= 0).all() and (corners <= 1).all()
        kept = cv2.contourArea((corners * [WIDTH, HEIGHT]).astype(np.float32)) / (WIDTH * HEIGHT)
        assert 0.45 < kept < 0.98
        assert rework_photo(photo, rework).shape[1] == rework.width < WIDTH + 1
