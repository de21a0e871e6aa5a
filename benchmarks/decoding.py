"""Decoding and preprocessing of 1024 x 768 JPEGs at 224 pixels, two workers: Diptych against CLIP's published way.

`python benchmarks/decoding.py` prints a table; it takes about a minute. The published way is Pillow, then torchvision's
Resize, CenterCrop, ToTensor and Normalize in the worker. Ours hands over uint8 pixels, which the backbone normalises
on its device. The pictures are drawn here (layered noise with the spectrum of photographs); photographs from the
folder given as the first argument, by default ../shared/real/photos beside the checkout, are added where there are any.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from diptych.contracts.models import ImageSpec
from diptych.photos.images import ImageReader
from side_by_side import interleave, machine_line

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SPEC = ImageSpec(size=224, mean=MEAN, std=STD)
PHOTOS = Path(__file__).resolve().parents[1] / "../shared/real/photos"
WIDTH, HEIGHT = 1024, 768
NUM_DRAWN, NUM_PHOTOS = 10, 10
IMAGES_PER_RUN, CACHED_IMAGES_PER_RUN = 160, 3200
BATCH_SIZE, NUM_WORKERS, REPEATS = 32, 2, 7


def published_transform() -> Callable[[Path], Tensor]:
    """CLIP's preprocessing as published."""
    steps = transforms.Compose(
        [
            transforms.Resize(SPEC.size, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(SPEC.size),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    return lambda path: steps(Image.open(path))


class ImageFiles(Dataset):
    """The files, read one by one, over and over until `length` have been read."""

    def __init__(self, paths: list[Path], read: Callable[[Path], Tensor], length: int) -> None:
        self.paths, self.read, self.length = paths, read, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> Tensor:
        return self.read(self.paths[position % len(self.paths)])


def draw_texture(seed: int) -> Image.Image:
    """Noise whose amplitude falls with the frequency, as in photographs, over three correlated colour channels."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = np.inf
    layers = [np.fft.irfft2(np.fft.rfft2(random.normal(size=(HEIGHT, WIDTH))) / frequency) for _ in range(3)]
    light, *chroma = [layer / layer.std() for layer in layers]
    channels = [light + 0.4 * chroma[0], light, light + 0.4 * chroma[1]]
    return Image.fromarray((128 + 50 * np.stack(channels, -1)).clip(0, 255).astype(np.uint8))


def make_images(folder: Path, photos: Path) -> list[Path]:
    """Writes the drawn pictures, and the photographs resized, as JPEG files of quality 90."""
    pictures = [draw_texture(seed) for seed in range(NUM_DRAWN)]
    for photo in sorted(photos.glob("*.jpg"))[:NUM_PHOTOS]:
        pictures.append(Image.open(photo).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    paths = [folder / f"{position:02d}.jpg" for position in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path, quality=90)
    return paths


def grey_level_difference(paths: list[Path], read: Callable[[Path], Tensor]) -> tuple[float, float]:
    """Mean absolute difference from the exact Pillow path in grey levels: over all pictures, and of the worst one."""
    exact = ImageReader(SPEC, "exact")
    means = [(read(path).float() - exact(path).float()).abs().mean().item() for path in paths]
    return sum(means) / len(means), max(means)


def run(photos: Path = PHOTOS) -> list[tuple[str, ...]]:
    """The table's rows: way, images per second (median, slowest to fastest run), ratio to published, difference."""
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(Path(folder), photos)
        fast = ImageReader(SPEC)
        cached = ImageReader(SPEC, cache_dir=Path(folder) / "cache")
        for path in paths:
            cached(path)  # built before the clock starts
        ways: dict[str, tuple[Callable[[Path], Tensor], int]] = {
            "Pillow + torchvision transforms, as published": (published_transform(), IMAGES_PER_RUN),
            "ours, decoder=exact": (ImageReader(SPEC, "exact"), IMAGES_PER_RUN),
            "ours, decoder=fast": (fast, IMAGES_PER_RUN),
            "ours, prepared cache": (cached, CACHED_IMAGES_PER_RUN),
        }
        # Workers stay alive between runs: their start is not what is measured.
        settings = {"batch_size": BATCH_SIZE, "num_workers": NUM_WORKERS, "persistent_workers": True}
        # fork, as closures cannot be pickled and no threads run yet.
        loaders = {
            name: DataLoader(ImageFiles(paths, read, length), multiprocessing_context="fork", **settings)
            for name, (read, length) in ways.items()
        }
        times = interleave({name: lambda loader=loader: drain(loader) for name, loader in loaders.items()}, REPEATS)
        differences = {"ours, decoder=fast": grey_level_difference(paths, fast)}
        differences["ours, prepared cache"] = grey_level_difference(paths, cached)
        differences["ours, decoder=exact"] = grey_level_difference(paths, ImageReader(SPEC, "exact"))
    return [_row(name, length, times, differences.get(name)) for name, (_, length) in ways.items()]


def drain(loader: DataLoader) -> None:
    """Draws every batch and drops it."""
    for _ in loader:
        pass


def _row(name: str, length: int, times: dict, difference: tuple[float, float] | None) -> tuple[str, ...]:
    published_seconds = next(iter(times.values()))[0] / IMAGES_PER_RUN
    median, fastest, slowest = (seconds / length for seconds in times[name])
    spread = f"{1 / slowest:.0f} to {1 / fastest:.0f}"
    grey = "" if difference is None else f"{difference[0]:.4f} (worst {difference[1]:.4f})"
    return name, f"{1 / median:.0f}", spread, f"{published_seconds / median:.2f}", grey


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)  # as in the workers
    photos = Path(sys.argv[1]) if len(sys.argv) > 1 else PHOTOS
    found = min(len(list(photos.glob("*.jpg"))), NUM_PHOTOS)
    rows = run(photos)
    print(f"{machine_line()}, Pillow {PIL.__version__}")
    pictures = f"{NUM_DRAWN} drawn, {found} photographs"
    print(f"{WIDTH} x {HEIGHT} JPEGs ({pictures}) to {SPEC.size} px, {NUM_WORKERS} workers, files in memory;")
    print(f"medians of {REPEATS} interleaved runs, the spread from the slowest to the fastest")
    header = ("way", "images/s", "spread", "ratio", "grey levels from exact")
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
