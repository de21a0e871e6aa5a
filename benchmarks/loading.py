"""Training batches a second from the loader, pictures read for every batch against pictures that a GPU holds.

`python benchmarks/loading.py [--num-workers 2] [--batches 20] [--batch-size 256]` prints a table, in minutes, with and
without augmentation. On the CPU, which says what the loader costs the cores; what a GPU then does with rows and random
numbers, gathering and augmenting, is not in it. Pictures of 224 pixels come out of the cache of prepared images.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import torch
from torch.utils.data import DataLoader
from torchvision.io import encode_jpeg, write_file

from diptych.data.triplets.augmentation import AugmentationSequence, ColorJitter, RandomCropResize
from diptych.data.triplets.from_files import FileTraining, FromFiles
from diptych.data.triplets.resident_pictures import load_pictures
from diptych.data.triplets.training_data import TrainingInputs
from diptych.data.triplets.triplet_dataset import TripletCollator
from diptych.data.triplets.triplet_jsonl import TripletJSONL
from diptych.models.backbones.clip import CLIPPreprocessing
from diptych.photos.images import ImageReader
from modification_texts import MODIFICATION_TEXTS
from side_by_side import machine_line

SIZE, NUM_PICTURES = 224, 512
BOTH = AugmentationSequence([RandomCropResize(), ColorJitter()])


def make_triplets(folder: Path) -> TripletJSONL:
    """Triplets of noise, one for every picture."""
    texts = MODIFICATION_TEXTS
    for number in range(NUM_PICTURES):
        pixels = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)
        write_file(str(folder / f"{number}.jpg"), encode_jpeg(pixels))
    records = [
        {
            "query_id": str(number),
            "reference_image": f"{number}.jpg",
            "modification_texts": [texts[number % len(texts)]],
            "target_image": f"{(number + 1) % NUM_PICTURES}.jpg",
        }
        for number in range(NUM_PICTURES)
    ]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return TripletJSONL(folder)


def batches_per_second(data: FileTraining, num_batches: int) -> float:
    """The rate once the workers run and what they had ready at the start is used up."""
    num_workers = data.inputs.num_workers
    first = 1 + 2 * num_workers  # each worker prefetches two batches
    batches = data.batches(first + 1 + num_batches, 0)
    collate = TripletCollator(data.inputs.preprocessing)
    loader = DataLoader(
        batches.dataset, batches.batch_size, sampler=batches.sampler, collate_fn=collate, num_workers=num_workers
    )
    times = [time.perf_counter() for _ in loader]
    return num_batches / (times[-1] - times[first])


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"num-workers": 2, "batches": 20, "batch-size": 256}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    print(machine_line())
    print(f"{'batches per second':24}{'read':>10}{'held':>10}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        preprocessing = CLIPPreprocessing("ViT-B-32")
        reader = ImageReader(preprocessing.image, cache_dir=f"{folder}/cache")
        sources = {"noise": make_triplets(Path(folder))}
        inputs = TrainingInputs(sources, preprocessing, reader, "error", given.num_workers, given.batch_size)
        for name, augmentation in {"as they are": None, "cropped and coloured": BOTH}.items():
            data = FromFiles(given.batch_size, augmentation=augmentation).open(inputs)(
                SimpleNamespace(wants=frozenset())
            )
            paths = data.dataset().image_paths()
            held = load_pictures(paths, reader, augmentation, torch.device("cpu"), given.num_workers)
            read = batches_per_second(data, given.batches)
            data.pictures = held
            rows = batches_per_second(data, given.batches)
            print(f"{name:24}{read:10.2f}{rows:10.2f}{rows / read:8.1f}", flush=True)


if __name__ == "__main__":
    main()
