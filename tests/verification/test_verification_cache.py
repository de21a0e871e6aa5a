from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from diptych.verification.feature_cache import KeypointCache
from diptych.verification.features import Orb, Sift
from diptych.verification.verified_policy import VerifiedPolicy

POLICY = VerifiedPolicy(detector=Sift(num_features=80))


@pytest.fixture
def picture(tmp_path, draw):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), draw(1, 160, 120))
    return path


class Counting:
    """A policy that counts its descriptions."""

    def __init__(self, policy=POLICY):
        self.policy, self.described = policy, 0

    def recipe(self):
        return self.policy.recipe()

    def describe(self, pixels):
        self.described += 1
        return self.policy.describe(pixels)


def equal(left, right) -> bool:
    return list(left) == list(right) and all(
        np.array_equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in left
    )


def test_a_picture_is_described_once(tmp_path, picture):
    policy = Counting()
    fresh = KeypointCache(None, policy).describe(picture)
    for _ in range(3):
        assert equal(KeypointCache(tmp_path / "cache", policy).describe(picture), fresh)
    assert policy.described == 2
    assert [path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".npz"]
    KeypointCache(None, policy).describe(picture)
    assert policy.described == 3


def test_a_changed_picture_or_recipe_is_described_anew(tmp_path, picture, draw):
    policy = Counting()
    before = KeypointCache(tmp_path / "cache", policy).describe(picture)
    cv2.imwrite(str(picture), draw(2, 160, 120))
    assert not equal(KeypointCache(tmp_path / "cache", policy).describe(picture), before)
    status = picture.stat()
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    KeypointCache(tmp_path / "cache", policy).describe(picture)
    assert policy.described == 3
    for other in (VerifiedPolicy(detector=Orb()), VerifiedPolicy(detector=POLICY.detector, max_side=64)):
        assert equal(
            KeypointCache(tmp_path / "cache", other).describe(picture), KeypointCache(None, other).describe(picture)
        )
    same = VerifiedPolicy(detector=POLICY.detector, min_inliers=99, depth=2)
    assert KeypointCache(tmp_path, same).folder == KeypointCache(tmp_path, POLICY).folder


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-40], lambda data: b"", lambda data: data[:200] + b"x" + data[201:]]
)
def test_damaged_entries_are_made_again(tmp_path, picture, damage, caplog):
    cache = KeypointCache(tmp_path / "cache", POLICY)
    before = cache.describe(picture)
    (entry,) = cache.folder.rglob("*.npz")
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    assert equal(cache.describe(picture), before)
    assert "describing the picture again" in caplog.text
    assert equal(dict(np.load(entry)), dict(np.load(tmp_path / "cache" / entry)))


def test_unreadable_pictures_leave_no_entry(tmp_path, caplog):
    path = tmp_path / "broken.jpg"
    cache = KeypointCache(tmp_path / "cache", POLICY)
    assert cache.describe(path) is None
    path.write_bytes(b"no picture")
    assert cache.describe(path) is None
    assert "cannot be read" in caplog.text
    assert "is not a readable image" in caplog.text
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, picture, caplog):
    (tmp_path / "file").write_text("")
    cache = KeypointCache(tmp_path / "file", POLICY)
    for _ in range(2):
        assert cache.describe(picture) is not None
    assert caplog.text.count("no longer written") == 1


def test_several_writers_share_a_folder(tmp_path, picture):
    caches = [KeypointCache(tmp_path / "cache", POLICY) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        descriptions = list(pool.map(lambda cache: cache.describe(picture), caches))
    assert all(equal(description, descriptions[0]) for description in descriptions)
    assert len([path for path in (tmp_path / "cache").rglob("*") if path.is_file()]) == 1
