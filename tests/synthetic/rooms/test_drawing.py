from dataclasses import replace

import cv2
import numpy as np
import pytest

from diptych.synthetic.canvas import SUPERSAMPLING, Camera, Canvas, Plane
from diptych.synthetic.photographs import encode_jpeg
from diptych.synthetic.rooms.drawing import draw_room, sample_photograph
from diptych.synthetic.rooms.scene import sample_hotel
from diptych.synthetic.scenes import find_changes

_STRAIGHT = Camera(x=0.0, y=1.0, z=4.0, yaw=0.0, focal=1.0, horizon=0.5)


def test_camera_projects_by_similar_triangles():
    points = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    np.testing.assert_allclose(_STRAIGHT.project(points), [[0.5, 0.5], [0.75, 0.5], [0.5, 1.0]], atol=1e-12)


def test_camera_turns_by_its_yaw():
    turned = replace(_STRAIGHT, yaw=0.1)
    # What lies straight ahead of the turned camera comes to the middle.
    ahead = np.array([[4.0 * np.tan(0.1), 1.0, 0.0]])
    np.testing.assert_allclose(turned.project(ahead), [[0.5, 0.5]], atol=1e-12)


def test_plane_fills_its_projection():
    canvas = Canvas(_STRAIGHT, 64)
    canvas.plane(Plane((-1, 0, 0), (1, 0, 0), (0, 2, 0)), (10, 20, 30))
    picture = canvas.reduced()
    assert canvas.pixels.shape == (64 * SUPERSAMPLING, 64 * SUPERSAMPLING, 3)
    assert picture[32, 24].tolist() == [10, 20, 30]  # u 0.375 lies between 0.25 and 0.5
    assert not picture[32, 36:].any() and not picture[:14].any()


@pytest.mark.parametrize("pattern", ["striped", "checked"])
def test_pattern_covers_half_of_the_plane(pattern):
    canvas = Canvas(_STRAIGHT, 256)
    canvas.patterned(Plane((-1, 0, 0), (2, 0, 0), (0, 2, 0)), ((100, 0, 0), (0, 100, 0)), pattern, 0.5)
    first, second = ((canvas.pixels[..., channel] > 0).sum() for channel in (0, 1))
    assert second / (first + second) == pytest.approx(0.5, abs=0.03)


def test_unknown_pattern_is_refused():
    with pytest.raises(ValueError, match="'paisley'"):
        Canvas(_STRAIGHT, 8).patterned(Plane((0, 0, 0), (1, 0, 0), (0, 1, 0)), ((0, 0, 0), (1, 1, 1)), "paisley", 0.5)


def test_drawing_is_deterministic_and_fills_the_picture():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = sample_hotel(rng).scenes[0]
        photograph = sample_photograph(scene.style, rng)
        picture = draw_room(scene, photograph, 128)
        assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, draw_room(scene, photograph, 128))
        noiseless = draw_room(scene, replace(photograph, noise=0.0), 128)
        assert noiseless.max(-1).min() > 15  # nothing unpainted


def test_every_change_shows_at_the_size_that_small_models_see():
    """Two rooms one change apart, photographed alike, differ clearly somewhere at 64 pixels."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hotel = sample_hotel(rng)
        photograph = replace(sample_photograph(hotel.scenes[0].style, rng), noise=0.0)
        one, other = (
            cv2.resize(draw_room(hotel.scenes[index], photograph), (64, 64), interpolation=cv2.INTER_AREA).astype(float)
            for index in (0, 1)
        )
        changed = np.abs(one - other).max(-1) > 24
        assert changed.sum() >= 8, find_changes(hotel.scenes[0], hotel.scenes[1])


def test_photographs_of_one_room_vary_a_little():
    rng = np.random.default_rng(0)
    scene = sample_hotel(rng).scenes[0]
    first, second = (draw_room(scene, sample_photograph(scene.style, rng)) for _ in range(2))
    assert (first != second).any()
    small = [cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA).astype(float) for picture in (first, second)]
    assert np.abs(small[0] - small[1]).mean() < 40


def test_jpeg_keeps_colours_in_order():
    picture = np.zeros((16, 16, 3), np.uint8)
    picture[..., 0] = 200
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(decoded.astype(int) - picture).max() < 10
