import json
import os
import pickle
from pathlib import Path

import pytest
import torch

from diptych.contracts.models import ImageFeatures, TextFeatures
from diptych.data.triplets import feature_cache
from diptych.data.triplets.feature_cache import BackboneFeatures

SETTINGS = {"weights": "abc", "dtype": "float32"}


def image_features(seed: int, dtype: torch.dtype = torch.float32) -> ImageFeatures:
    generator = torch.Generator().manual_seed(seed)
    return ImageFeatures(*(torch.randn(shape, generator=generator).to(dtype) for shape in ((4, 6), (5,), (6,))))


def text_features(seed: int) -> TextFeatures:
    generator = torch.Generator().manual_seed(seed)
    length = 2 + seed % 5
    mask = torch.arange(length) < length - seed % 2
    return TextFeatures(torch.randn(length, 3, generator=generator), mask, torch.randn(5, generator=generator))


def equal(one, other) -> bool:
    return type(one) is type(other) and all(
        torch.equal(value, getattr(other, name)) and value.dtype == getattr(other, name).dtype
        for name, value in vars(one).items()
    )


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * (number + 1))
    return paths


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_cache, "_ROWS_PER_SHARD", 3)


def opened(tmp_path: Path, **settings) -> BackboneFeatures:
    return BackboneFeatures(tmp_path / "cache", SETTINGS | settings)


def fill(cache: BackboneFeatures, paths: list[Path], texts: list[str] = ()) -> None:
    with cache.writing():
        images, words = cache.missing_images(paths), cache.missing_texts(texts)
        cache.images.extend(
            (name, stamp, image_features(len(name) + n)) for n, (name, stamp) in enumerate(images.items())
        )
        cache.texts.extend((name, stamp, text_features(n)) for n, (name, stamp) in enumerate(words.items()))


def shards(cache: BackboneFeatures, kind: str = "images") -> list[str]:
    return sorted(path.name for path in (cache.folder / kind).iterdir())


def test_rows_come_back_bit_for_bit_over_several_shards(tmp_path, paths):
    texts = ["", "a lamp", "make it 'red'\n", "größer 大", "x", "y", "z"]
    cache = opened(tmp_path)
    fill(cache, paths, texts)
    again = opened(tmp_path)
    assert len(shards(again)) == len(shards(again, "texts")) == 3
    for reader in (cache, again, pickle.loads(pickle.dumps(again))):
        for number, path in enumerate(paths):
            assert equal(reader.image(path), image_features(len(str(path)) + number))
        for number, text in enumerate(texts):
            assert equal(reader.text(text), text_features(number))


def test_half_precision_is_kept_as_it_is(tmp_path, paths):
    cache = opened(tmp_path, dtype="float16")
    with cache.writing():
        name, stamp = next(iter(cache.missing_images(paths).items()))
        cache.images.extend([(name, stamp, image_features(0, torch.float16))])
    assert equal(opened(tmp_path, dtype="float16").image(paths[0]), image_features(0, torch.float16))


def test_rows_belong_to_the_caller(tmp_path, paths):
    cache = opened(tmp_path)
    fill(cache, paths)
    first = cache.image(paths[0])
    kept = first.tokens.clone()
    first.tokens.zero_()
    assert torch.equal(cache.image(paths[0]).tokens, kept)


def test_relative_and_absolute_paths_are_one_image(tmp_path, paths, monkeypatch):
    cache = opened(tmp_path)
    fill(cache, paths)
    monkeypatch.chdir(tmp_path)
    assert not cache.missing_images([Path(path.name) for path in paths])
    assert equal(cache.image(Path(paths[1].name)), cache.image(paths[1]))


def test_other_settings_are_another_folder(tmp_path, paths):
    cache, other = opened(tmp_path), opened(tmp_path, weights="abd")
    fill(cache, paths)
    assert other.folder != cache.folder
    assert len(other.missing_images(paths)) == 7
    assert json.loads((cache.folder / "manifest.json").read_text()) == SETTINGS


def test_a_changed_image_is_missing_and_its_new_features_count(tmp_path, paths):
    cache = opened(tmp_path)
    fill(cache, paths)
    paths[2].write_bytes(b"changed")
    assert list(cache.missing_images(paths)) == [str(paths[2])]
    with cache.writing():
        name, stamp = next(iter(cache.missing_images(paths).items()))
        cache.images.extend([(name, stamp, image_features(99))])
    for reader in (cache, opened(tmp_path)):
        assert not reader.missing_images(paths)
        assert equal(reader.image(paths[2]), image_features(99))
        assert equal(reader.image(paths[3]), image_features(len(str(paths[3])) + 3))


def test_a_killed_build_keeps_its_finished_shards_and_goes_on(tmp_path, paths):
    class Killed(BaseException):
        pass

    def rows(images):
        for number, (name, stamp) in enumerate(images.items()):
            if number == 5:
                raise Killed
            yield name, stamp, image_features(number)

    cache = opened(tmp_path)
    with pytest.raises(Killed), cache.writing():
        cache.images.extend(rows(cache.missing_images(paths)))
    half_written = cache.folder / "images" / ".unfinished-000001-00"
    half_written.mkdir()
    (half_written / "tokens.npy").write_bytes(b"half")

    cache = opened(tmp_path)
    assert list(cache.missing_images(paths)) == [str(path) for path in paths[3:]]
    fill(cache, paths)
    assert not opened(tmp_path).missing_images(paths)
    assert not half_written.exists()
    assert equal(cache.image(paths[1]), image_features(1))


def test_a_full_disk_leaves_no_half_shard(tmp_path, paths, monkeypatch):
    cache = opened(tmp_path)
    fill(cache, paths[:3])
    before = shards(cache)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        fill(cache, paths)
    assert shards(cache) == before
    assert len(opened(tmp_path).missing_images(paths)) == 4


def test_a_writer_sees_what_another_has_added(tmp_path, paths):
    first, second = opened(tmp_path), opened(tmp_path)
    fill(first, paths[:4], ["a"])
    assert len(second.missing_images(paths)) == 7
    with second.writing():
        assert list(second.missing_images(paths)) == [str(path) for path in paths[4:]]
        assert not second.missing_texts(["a"])


def test_unknown_rows_and_missing_files_are_named(tmp_path, paths):
    cache = opened(tmp_path)
    fill(cache, paths[:1])
    with pytest.raises(ValueError, match=r"1\.jpg.*changed"):
        cache.image(paths[1])
    with pytest.raises(ValueError, match="'a lamp'"):
        cache.text("a lamp")
    with pytest.raises(ValueError, match=r"gone\.jpg.*No such file"):
        cache.missing_images([tmp_path / "gone.jpg"])


@pytest.mark.parametrize("name", ["tokens.npy", "index.json"])
def test_a_damaged_shard_is_named(tmp_path, paths, name):
    cache = opened(tmp_path)
    fill(cache, paths)
    file = cache.folder / "images" / shards(cache)[1] / name
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"000001-\w+ is damaged.*delete it"):
        opened(tmp_path)


def test_opening_writes_nothing(tmp_path):
    opened(tmp_path)
    assert not (tmp_path / "cache").exists()
