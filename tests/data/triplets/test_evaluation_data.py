from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from diptych.contracts.retrieval import EvaluationProtocol, EvaluationSet, GalleryBatch, GalleryImage, Query, QueryBatch
from diptych.data.triplets.evaluation_data import evaluation_loaders
from diptych.photos.images import ImageReader

PROTOCOL = EvaluationProtocol("tiny", 1, "all images", True, "{text}", "none", (1, 5))
TEXTS = ("add a lamp", "", "darker", "two beds and a chair", "a", "blue", "red curtains, please")


@pytest.fixture
def evaluation(tmp_path) -> EvaluationSet:
    """Seven queries over five gallery images; picture number n is n * 20 red."""
    paths: list[Path] = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (16, 16), (20 * number, 0, 0)).save(paths[-1])
    return EvaluationSet(
        name="tiny",
        queries=[Query(f"q{n}", f"image{n % 5}", text) for n, text in enumerate(TEXTS)],
        gallery=[GalleryImage(f"image{n}", path) for n, path in enumerate(paths)],
        protocol=PROTOCOL,
        reference_paths={f"image{n}": path for n, path in enumerate(paths)},
    )


@pytest.fixture
def batches(evaluation, tiny_preprocessing):
    def read(batch_size: int, rank: int = 0, world_size: int = 1) -> tuple[list[QueryBatch], list[GalleryBatch]]:
        reader = ImageReader(tiny_preprocessing.image)
        loaders = evaluation_loaders(evaluation, reader, tiny_preprocessing, batch_size, 0, rank, world_size)
        return tuple(map(list, loaders))

    return read


def test_every_row_comes_with_its_position(batches, tiny_preprocessing):
    queries, gallery = batches(3)
    assert [batch.positions.tolist() for batch in queries] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [batch.positions.tolist() for batch in gallery] == [[0, 1, 2], [3, 4]]
    for batch in queries:
        assert batch.reference.shape == (len(batch.positions), 3, 16, 16) and batch.reference.dtype == torch.uint8
        assert batch.reference[:, 0, 0, 0].tolist() == [20 * (n % 5) for n in batch.positions.tolist()]
        alone = tiny_preprocessing.tokenize([TEXTS[n] for n in batch.positions.tolist()])
        assert torch.equal(batch.text.input_ids, alone.input_ids)
    for batch in gallery:
        assert batch.pixels[:, 0, 0, 0].tolist() == [20 * n for n in batch.positions.tolist()]


@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_read_the_batches_of_one_rank(batches, world_size):
    for kind in (0, 1):
        together = [batch for rank in range(world_size) for batch in batches(3, rank, world_size)[kind]]
        together = list({int(batch.positions[0]): batch for batch in together}.values())  # the first may come twice
        together.sort(key=lambda batch: int(batch.positions[0]))
        alone = batches(3)[kind]
        assert [batch.positions.tolist() for batch in together] == [batch.positions.tolist() for batch in alone]


def test_a_rank_that_would_have_nothing_reads_the_first_batch(batches):
    assert [len(part) for part in batches(8, rank=1, world_size=2)] == [1, 1]


def test_an_unreadable_image_is_named(batches, evaluation):
    evaluation.gallery[4].path.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"4\.png"):
        batches(3)
