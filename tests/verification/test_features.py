from __future__ import annotations

import cv2
import numpy as np
import pytest

from diptych.photos.picture_data import UnreadablePicture
from diptych.verification.features import Features, Orb, Sift, cap_long_side, read_picture


def grey_of(picture):
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize(("detector", "descriptor_dim"), [(Sift(num_features=300), 128), (Orb(num_features=300), 32)])
def test_features_are_those_of_opencv_whatever_the_threads(draw, detector, descriptor_dim):
    grey = grey_of(draw(1))
    features = detector.detect(grey)
    assert 200 < len(features) <= 310
    assert (features.width, features.height) == (480, 360)
    assert features.descriptors.shape == (len(features), descriptor_dim)
    theirs = cv2.SIFT_create(300) if isinstance(detector, Sift) else cv2.ORB_create(300)
    points, descriptors = theirs.detectAndCompute(grey, None)
    assert np.array_equal(descriptors.astype(np.uint8), features.descriptors)
    assert np.array_equal(descriptors, features.descriptors.astype(descriptors.dtype)), "bytes hold SIFT exactly"
    assert np.array_equal(np.float32([point.pt for point in points]), features.points)
    cv2.setNumThreads(2)
    again = detector.detect(grey)
    for name in ("points", "sizes", "angles", "descriptors"):
        assert np.array_equal(getattr(again, name), getattr(features, name))


def test_arrays_hold_everything(draw):
    features = Sift(num_features=50).detect(grey_of(draw(2)))
    again = Features.from_arrays(features.to_arrays("a"), "a")
    assert (again.width, again.height) == (480, 360)
    for name in ("points", "sizes", "angles", "descriptors"):
        assert np.array_equal(getattr(again, name), getattr(features, name))


@pytest.mark.parametrize("detector", [Sift(), Orb()])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3000), (15, 15), (40, 40), (200, 300)])
def test_nothing_to_see(detector, shape):
    features = detector.detect(np.full(shape, 127, np.uint8))
    assert len(features) == 0
    assert features.descriptors.dtype == np.uint8
    assert features.points.shape == (0, 2)


def test_cap_long_side():
    assert cap_long_side(np.zeros((300, 400, 3), np.uint8), 400).shape == (300, 400, 3)
    assert cap_long_side(np.zeros((300, 400, 3), np.uint8), None).shape == (300, 400, 3)
    assert cap_long_side(np.zeros((300, 400, 3), np.uint8), 200).shape == (150, 200, 3)
    assert cap_long_side(np.zeros((1, 9000), np.uint8), 200).shape == (1, 200)


@pytest.mark.parametrize("kind", ["grey", "alpha", "16 bits", "bmp"])
def test_any_picture_becomes_three_channels(tmp_path, draw, kind):
    picture = draw(3, 64, 48)
    changed = {
        "grey": grey_of(picture),
        "alpha": cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA),
        "16 bits": picture.astype(np.uint16) * 257,
        "bmp": picture,
    }[kind]
    path = tmp_path / ("picture.bmp" if kind == "bmp" else "picture.png")
    cv2.imwrite(str(path), changed)
    read = read_picture(path)
    assert (read.shape, read.dtype) == ((48, 64, 3), np.uint8)
    expected = cv2.cvtColor(changed, cv2.COLOR_GRAY2BGR) if kind == "grey" else picture
    assert np.abs(read.astype(int) - expected).max() <= 1


def test_unreadable_files(tmp_path, draw):
    _, data = cv2.imencode(".jpg", draw(4))
    data = data.tobytes()
    damaged = bytearray(data)
    damaged[2:200] = bytes(198)
    bomb = b"P5\n70000 70000\n255\n"
    for name, content, message in (
        ("empty", b"", r"empty\.jpg is empty \(0 bytes\)"),
        ("text", b"<html>404</html>", "is not a readable image"),
        ("cut", data[: len(data) // 2], "is truncated or damaged: the JPEG's end marker is missing"),
        ("damaged", bytes(damaged), "is not a readable image|damaged"),
        ("bomb", bomb, "too large to be decoded safely"),
    ):
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(content)
        with pytest.raises(UnreadablePicture, match=message):
            read_picture(path)
    with pytest.raises(UnreadablePicture, match=r"absent\.jpg cannot be read: No such file"):
        read_picture(tmp_path / "absent.jpg")
