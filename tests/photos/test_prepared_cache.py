import errno
import logging
import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.contracts.models import ImageSpec
from diptych.photos.images import ImageReader
from diptych.photos.prepared_cache import PreparedCache

SPEC = ImageSpec(size=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
ENTRY_BYTES = 20 + 3 * 16 * 16


def save(path: Path, seed: int) -> Path:
    values = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


class Counted:
    """Prepares like a reader without a cache, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.reader = ImageReader(SPEC)

    def __call__(self, path):
        self.calls += 1
        return self.reader(path)


@pytest.fixture
def image(tmp_path):
    return save(tmp_path / "a.png", 0)


@pytest.fixture
def cache(tmp_path):
    return PreparedCache(tmp_path / "cache", SPEC, "fast")


@pytest.mark.parametrize("decoder", ["fast", "exact"])
def test_equal_to_direct_preparation_bit_for_bit(tmp_path, decoder):
    cached, direct = ImageReader(SPEC, decoder, tmp_path / "cache"), ImageReader(SPEC, decoder)
    paths = [save(tmp_path / f"{seed}.jpg", seed) for seed in range(5)]
    for _ in range(2):  # built, then read back
        for path in paths:
            assert torch.equal(cached(path), direct(path))
    assert len(entries(tmp_path / "cache")) == 5


def test_prepared_once_and_readable_by_another_process(cache, image):
    prepare = Counted()
    first = cache.load_or_prepare(image, prepare)
    second = pickle.loads(pickle.dumps(cache)).load_or_prepare(str(image), prepare)
    assert prepare.calls == 1
    assert torch.equal(first, second)
    assert second.is_contiguous()
    second.zero_()  # results belong to the caller
    assert torch.equal(cache.load_or_prepare(image, prepare), first)


def test_relative_and_absolute_paths_share_an_entry(cache, image, monkeypatch):
    prepare = Counted()
    cache.load_or_prepare(image, prepare)
    monkeypatch.chdir(image.parent)
    cache.load_or_prepare(Path(image.name), prepare)
    assert prepare.calls == 1


def test_constructor_touches_nothing(tmp_path):
    ImageReader(SPEC, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_changed_file_is_read_again_and_replaces_its_entry(cache, image):
    prepare = Counted()
    before = cache.load_or_prepare(image, prepare)
    save(image, 1)
    os.utime(image, ns=(1, 1))  # a new time however coarse the file system's clock is
    after = cache.load_or_prepare(image, prepare)
    assert not torch.equal(before, after)
    assert torch.equal(after, ImageReader(SPEC)(image))
    os.utime(image, ns=(2, 2))
    cache.load_or_prepare(image, prepare)
    assert prepare.calls == 3
    assert len(entries(cache.folder)) == 1


def test_file_that_changes_while_it_is_prepared_leaves_no_current_entry(cache, image):
    prepare = Counted()

    def changed_meanwhile(path):
        pixels = prepare(path)
        save(image, 1)
        os.utime(image, ns=(1, 1))
        return pixels

    cache.load_or_prepare(image, changed_meanwhile)
    assert torch.equal(cache.load_or_prepare(image, prepare), ImageReader(SPEC)(image))


def test_everything_that_decides_the_pixels_is_part_of_the_key(tmp_path):
    specs = [
        SPEC,
        ImageSpec(17, SPEC.mean, SPEC.std),
        ImageSpec(16, SPEC.mean, SPEC.std, interpolation="bilinear"),
        ImageSpec(16, SPEC.mean, SPEC.std, resize="squash"),
        ImageSpec(16, SPEC.mean, SPEC.std, target_pad=1.25),
    ]
    folders = {PreparedCache(tmp_path, spec, decoder).folder for spec in specs for decoder in ("fast", "exact")}
    assert len(folders) == 10
    other_mean = ImageSpec(16, (0.1, 0.2, 0.3), SPEC.std)  # normalisation comes later
    assert PreparedCache(tmp_path, other_mean, "fast").folder == PreparedCache(tmp_path, SPEC, "fast").folder


@pytest.mark.parametrize("damage", ["empty", "header", "short", "long", "flipped"])
def test_damaged_entry_is_noticed_and_built_again(cache, image, damage, caplog):
    expected = cache.load_or_prepare(image, Counted())
    (entry,) = entries(cache.folder)
    data = entry.read_bytes()
    assert len(data) == ENTRY_BYTES
    flipped = data[:100] + bytes([data[100] ^ 1]) + data[101:]
    broken = {"empty": b"", "header": data[:7], "short": data[:-1], "long": data + b"x", "flipped": flipped}
    entry.write_bytes(broken[damage])
    prepare = Counted()
    assert torch.equal(cache.load_or_prepare(image, prepare), expected)
    assert str(entry) in caplog.text
    assert torch.equal(cache.load_or_prepare(image, prepare), expected)
    assert prepare.calls == 1


def test_errors_of_the_picture_pass_through_and_leave_no_entry(tmp_path):
    reader = ImageReader(SPEC, cache_dir=tmp_path / "cache")
    (tmp_path / "text.jpg").write_text("not a picture")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"text\.jpg is not a readable image"):
            reader(tmp_path / "text.jpg")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("stage", ["writing", "renaming"])
def test_full_disk_is_logged_once_and_does_not_stop_the_run(cache, tmp_path, monkeypatch, caplog, stage):
    kept = save(tmp_path / "kept.png", 9)
    cache.load_or_prepare(kept, Counted())

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class FullFile:
        def __enter__(self):
            return self

        def __exit__(self, *_args):
            return None

        write = full

    if stage == "renaming":
        monkeypatch.setattr(Path, "replace", full)
    else:
        plain_open = Path.open

        def open_full(path, mode="r", *args, **kwargs):
            if mode != "wb":
                return plain_open(path, mode, *args, **kwargs)
            plain_open(path, mode).close()  # the name is taken, the bytes do not fit
            return FullFile()

        monkeypatch.setattr(Path, "open", open_full)
    prepare = Counted()
    for seed in range(3):
        path = save(tmp_path / f"{seed}.png", seed)
        assert torch.equal(cache.load_or_prepare(path, prepare), ImageReader(SPEC)(path))
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "No space left" in warnings[0].getMessage()
    assert len(entries(cache.folder)) == 1  # no temporary file stays
    cache.load_or_prepare(kept, prepare)
    assert prepare.calls == 3  # what was kept before is still read


def _read_all(arguments):
    paths, folder = arguments
    reader = ImageReader(SPEC, cache_dir=folder)
    return [int(reader(path).long().sum()) for _ in range(3) for path in paths]


def test_many_processes_build_one_cache(tmp_path):
    paths = [save(tmp_path / f"{seed}.jpg", seed) for seed in range(12)]
    expected = [int(ImageReader(SPEC)(path).long().sum()) for path in paths] * 3
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for sums in pool.map(_read_all, [(paths, tmp_path / "cache")] * 4, chunksize=1):
            assert sums == expected
    files = entries(tmp_path / "cache")
    assert len(files) == 12
    assert all(path.stat().st_size == ENTRY_BYTES for path in files)
