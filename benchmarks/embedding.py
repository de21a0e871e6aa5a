"""Photos to embeddings: images a second of the data side alone, against the same with the model.

`python benchmarks/embedding.py [--num-workers 2] [--images 640] [--batch-size 32] [--repeats 3]` prints a table, in
minutes. The stage's own reader and Lightning's predict loop, on drawn JPEGs of 1024 x 768; alone means that a no-op
stands in for the model. The start of the workers is not counted. On a GPU the model starves where it is faster than the
data side alone; on a CPU both share the cores.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn

from decoding import HEIGHT, NUM_DRAWN, WIDTH, make_images
from diptych.contracts.retrieval import GalleryImage
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.models.backbones.global_descriptor import ColourLayout
from diptych.stages.news.embed_photos import EmbedPhotos
from diptych.stages.running.prediction import predict
from side_by_side import machine_line

NAME = "ViT-B-32"


class DrawnPhotos:
    """A source whose gallery are `number` photos in a few files."""

    def __init__(self, paths: Sequence[Path], number: int) -> None:
        self.paths, self.number = paths, number

    def gallery(self) -> Iterator[GalleryImage]:
        """The photos."""
        return (GalleryImage(str(n), self.paths[n % len(self.paths)]) for n in range(self.number))


class NoModel(nn.Module):
    """An encoder with the transform of another, and nothing behind it."""

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.transform = transform

    def load(self) -> None:
        """Nothing."""

    def embed_images(self, inputs: Tensor) -> Tensor:
        """Zeros (B, 1)."""
        return torch.zeros(len(inputs), 1)


def images_per_second(trainer: L.Trainer, source: DrawnPhotos, encoder: nn.Module, settings: dict[str, int]) -> float:
    """The rate once the workers run and what they had ready at the start is used up."""
    stage = EmbedPhotos(source, encoder, **settings)
    times: list[float] = []
    predict(trainer, stage, stage.ids(), lambda results: times.append(time.perf_counter()))
    first = 1 + 2 * settings["num_workers"]  # each worker prefetches two batches
    return settings["batch_size"] * (len(times) - 1 - first) / (times[-1] - times[first])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"num-workers": 2, "images": 640, "batch-size": 32, "repeats": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    settings = {"batch_size": given.batch_size, "num_workers": given.num_workers}
    num_batches = given.images // given.batch_size
    if num_batches < 4 + 2 * given.num_workers:
        parser.error(f"{num_batches} batches are too few to measure; raise --images or lower --batch-size")
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(devices=1, logger=False, enable_progress_bar=False, enable_checkpointing=False)
    clip = CLIPEncoder(CLIPBackbone(NAME, CLIPPreprocessing(NAME)))
    encoders = {f"CLIP {NAME} (random weights)": clip, "colour layout (global descriptor)": ColourLayout()}
    print(machine_line())
    print(f"{WIDTH} x {HEIGHT} JPEGs, {given.num_workers} workers, model on {trainer.strategy.root_device}")
    print(f"{'images per second':36}{'data side alone':>16}{'with the model':>16}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        paths = make_images(Path(folder), Path(folder) / "none")[:NUM_DRAWN]
        source = DrawnPhotos(paths, num_batches * given.batch_size)
        for name, encoder in encoders.items():
            alone, together = [], []
            for _ in range(given.repeats):
                alone.append(images_per_second(trainer, source, NoModel(encoder.transform), settings))
                together.append(images_per_second(trainer, source, encoder, settings))
            data, both = statistics.median(alone), statistics.median(together)
            print(f"{name:36}{data:16.1f}{both:16.1f}{data / both:8.2f}", flush=True)


if __name__ == "__main__":
    main()
