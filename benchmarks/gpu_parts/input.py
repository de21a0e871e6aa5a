"""Part 4: how fast pictures come to the model: decoded by processes, from the prepared cache, by the card, from its
memory.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from diptych.photos.images import ImageReader
from gpu_parts.bench import Missing, Report, Setting
from gpu_parts.models import cir_system, clip_backbone, triplets
from gpu_parts.training import Batches, Clock, fit, trainer

NAME, SECONDS = "input", 60
SIZES = ((768, 1024), (480, 640))
BATCH = 64
Read = Callable[[Path], Tensor]


def run(setting: Setting, report: Report) -> None:
    """Photos a second of each way, their difference in grey levels, and a training that is fed by each."""
    for height, width in setting.of(SIZES, SIZES[:1]):
        with tempfile.TemporaryDirectory() as folder:
            with setting.host():
                paths = draw_photos(Path(folder), setting.of(256, 8), setting.of(height, 96), setting.of(width, 128))
            _of_one_size(setting, report, paths, f"{width}x{height}", Path(folder) / "prepared")


def _of_one_size(setting: Setting, report: Report, paths: list[Path], name: str, cache: Path) -> None:
    spec = clip_backbone(setting).preprocessing.image
    plain, kept = ImageReader(spec), ImageReader(spec, cache_dir=cache)
    for count in setting.of((8, 15), (0,)):
        with report.attempt(f"{name}, {count} processes"):
            rate = _rate(setting, plain, paths, count, setting.of(4, 1))
            report.row(f"{name}, {count} processes decode", **{"photos/s": rate})
    _rate(setting, kept, paths, setting.of(8, 0), 1)  # built before it is measured
    rate = _rate(setting, kept, paths, setting.of(8, 0), setting.of(20, 2))
    report.row(f"{name}, {setting.of(8, 0)} processes, prepared cache", **{"photos/s": rate})
    with report.attempt(f"{name}, decoded by the card"):
        _by_the_card(setting, report, paths, name, plain)
    on_device = _all(setting, kept, paths).to(setting.device)
    order = torch.randint(len(paths), (setting.of(256, 4),), device=setting.device)
    timing = setting.time(lambda: on_device[order])
    report.timed(f"{name}, pixels on the card by index", timing, **{"photos/s": timing.rate(len(order))})
    _trainings(setting, report, paths, name, plain, kept, on_device)


class Files(Dataset[Tensor]):
    """The photos, over and over."""

    def __init__(self, paths: list[Path], read: Read, times: int) -> None:
        self.paths, self.read, self.times = paths, read, times

    def __len__(self) -> int:
        return len(self.paths) * self.times

    def __getitem__(self, position: int) -> Tensor:
        return self.read(self.paths[position % len(self.paths)])


def draw_photos(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """JPEG files of quality 90: colours that change over all distances, so that they have photographs' sizes."""
    from torchvision.io import encode_jpeg

    torch.manual_seed(0)
    paths = []
    for number in range(count):
        layers = [
            F.interpolate(torch.randn(1, 3, height // step, width // step), size=(height, width), mode="bilinear")
            * step**0.5
            for step in (2, 8, 32)
        ]
        pixels = (128 + 8 * torch.stack(layers).sum(0)[0]).clamp(0, 255).to(torch.uint8)
        paths.append(folder / f"{number:03d}.jpg")
        paths[-1].write_bytes(encode_jpeg(pixels, quality=90).numpy().tobytes())
    return paths


def _batches(setting: Setting, read: Read, paths: list[Path], processes: int, times: int) -> Iterator[Tensor]:
    if setting.rehearsal:  # files have values, and are read by this process
        with setting.host():
            yield torch.stack([read(path) for path in paths])
        return
    many = {"num_workers": processes, "prefetch_factor": 4} if processes else {}
    pinned = setting.on_gpu()
    yield from DataLoader(Files(paths, read, times), BATCH, pin_memory=pinned, **many)  # type: ignore[arg-type]


def _rate(setting: Setting, read: Read, paths: list[Path], processes: int, times: int) -> float | None:
    """Photos a second, counted from the first batch on: processes take their time to start."""
    batches = _batches(setting, read, paths, processes, times)
    next(batches)
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch.to(setting.device, non_blocking=True))
    setting.wait()
    return count / (time.perf_counter() - start) if count and not setting.rehearsal else None


def _all(setting: Setting, read: Read, paths: list[Path]) -> Tensor:
    with setting.host():
        return torch.stack([read(path) for path in paths])


# ------------------------------------------------------------------------------------------------ the card decodes


def _by_the_card(setting: Setting, report: Report, paths: list[Path], name: str, reader: ImageReader) -> None:
    """nvJPEG in batches, resized with antialiasing; the grey levels beside the CPU's at full size and when prepared."""
    setting.needs_gpu("nvJPEG")
    from torchvision.io import ImageReadMode, decode_jpeg

    data = [torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8) for path in paths]
    try:
        decode_jpeg(data[:1], device=setting.device)
    except RuntimeError as error:
        raise Missing(str(error).splitlines()[0]) from error
    for size in (64, 256):
        decode = partial(_decoded, setting, data[:size], reader.spec.size)
        timing = setting.time(decode, repeats=5)
        report.timed(f"{name}, the card decodes {size} at a time", timing, **{"photos/s": timing.rate(size)})
    theirs = [decode_jpeg(one, mode=ImageReadMode.RGB).float() for one in data[:16]]
    ours = [one.cpu().float() for one in decode_jpeg(data[:16], mode=ImageReadMode.RGB, device=setting.device)]
    report.must(f"{name}: nvJPEG against the CPU, mean grey levels", lambda: _mean_difference(ours, theirs), 1.0)
    prepared = [reader(path).float() for path in paths[:16]]
    difference = _mean_difference(list(_decoded(setting, data[:16], reader.spec.size).cpu().float()), prepared)
    report.notes.append(f"{name}: prepared by the card against by the host, mean grey levels: {difference:.3g}")


def _decoded(setting: Setting, data: list[Tensor], size: int) -> Tensor:
    """uint8 pixels (N, 3, S, S): the shorter side is S, and the middle of the longer one is taken."""
    from torchvision.io import ImageReadMode, decode_jpeg

    pixels = torch.stack(decode_jpeg(data, mode=ImageReadMode.RGB, device=setting.device)).float()
    height, width = pixels.shape[2:]
    scale = size / min(height, width)
    shape = (max(size, round(height * scale)), max(size, round(width * scale)))
    small = F.interpolate(pixels, size=shape, mode="bicubic", antialias=True, align_corners=False)
    top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
    return small[:, :, top : top + size, left : left + size].round().clamp(0, 255).to(torch.uint8)


def _mean_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    pairs = zip(ours, theirs, strict=True)
    return float(torch.stack([(left - right).abs().mean() for left, right in pairs]).mean())


# ------------------------------------------------------------------------------------------------ trainings


def _trainings(
    setting: Setting, report: Report, paths: list[Path], name: str, plain: Read, kept: Read, on_device: Tensor
) -> None:
    """Triplets a second of Lightning's trainer; pictures come from each of the ways, texts are there."""
    size, steps = setting.of(128, 4), setting.of(8, 2)
    template = triplets(setting, size)
    workers = min(15, (os.cpu_count() or 1) - 1)

    def fed(pixels: Iterator[Tensor], number: int) -> Any:
        both = next(pixels).to(setting.device, non_blocking=True)
        keys = torch.arange(2 * size)
        return replace(
            template, reference=both[:size], target=both[size:], reference_keys=keys[:size], target_keys=keys[size:]
        )

    def read(reader: Read) -> Iterator[Tensor]:
        if setting.tiny:
            while True:
                yield _all(setting, reader, [paths[place % len(paths)] for place in range(2 * size)])
        files = Files(paths, reader, 2 * size * (steps + 4) // len(paths) + 1)
        yield from DataLoader(files, 2 * size, num_workers=workers, pin_memory=True)

    def by_index() -> Iterator[Tensor]:
        while True:
            yield on_device[torch.randint(len(paths), (2 * size,), device=setting.device)]

    for way, pixels in (("decoded", read(plain)), ("prepared cache", read(kept)), ("pixels on the card", by_index())):
        with report.attempt(f"{name}, training from {way}"):
            clock = Clock(setting, setting.of(2, 1))
            fit(setting, trainer(setting, steps, [clock]), cir_system(setting), Batches(partial(fed, pixels)))
            rate = clock.ms and size / clock.ms * 1e3
            report.row(f"{name}, training from {way}", ms=clock.ms, **{"triplets/s": rate})
