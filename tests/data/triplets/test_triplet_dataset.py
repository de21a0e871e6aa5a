from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from diptych.contracts.retrieval import EvaluationProtocol, GalleryImage, Query, Triplet, TripletSource
from diptych.data.triplets.triplet_dataset import TripletCollator, TripletDataset, image_key
from diptych.photos.images import ImageReader

WORDINGS = ("add a lamp", "put a lamp on the small table beside the bed", "a lamp", "one lamp more", "light it")


class Folder(TripletSource):
    """A source whose image ids are file names below its root."""

    docs_page = "docs/own_data.md"
    splits = ("train",)

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name

    def triplets(self, split: str) -> list[Triplet]:
        return [
            Triplet("q0", "0.png", WORDINGS, "1.png", ("2.png", "3.png")),
            Triplet("q1", "1.png", ("darker",), "2.png"),
            Triplet("q2", "3.png", ("brighter",), "1.png", ("0.png",)),
        ]

    def image_path(self, split: str, image_id: str) -> Path:
        return self.root / split / image_id

    def queries(self, split: str) -> list[Query]:
        raise NotImplementedError

    def gallery(self, split: str) -> list[GalleryImage]:
        raise NotImplementedError

    def protocol(self, split: str) -> EvaluationProtocol:
        raise NotImplementedError


@pytest.fixture
def source(tmp_path) -> Folder:
    (tmp_path / "train").mkdir()
    for number in range(4):
        Image.new("RGB", (20, 16), (60 * number, 10, 20)).save(tmp_path / "train" / f"{number}.png")
    return Folder(tmp_path, "ours")


@pytest.fixture
def dataset_of(source, tiny_preprocessing):
    def build(**settings) -> TripletDataset:
        reader = ImageReader(tiny_preprocessing.image)
        records = [(source, triplet) for triplet in source.triplets("train")]
        return TripletDataset(records, "train", reader, **settings)

    return build


def noise(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, pixels.shape, dtype=torch.uint8, generator=generator)


def test_an_example_is_the_triplet_s_images_and_one_of_its_wordings(dataset_of, source):
    example = dataset_of()[0, 0]
    assert example.query_id == "q0" and example.text in WORDINGS
    assert example.reference.shape == (3, 16, 16) and example.reference.dtype == torch.uint8
    assert example.reference[0].unique().tolist() == [0] and example.target[0].unique().tolist() == [60]
    assert example.reference_key == image_key(source.image_path("train", "0.png"))
    assert example.distractors == () and example.distractor_keys == ()


def test_distractors_come_when_asked_for(dataset_of):
    example = dataset_of(with_distractors=True)[0, 0]
    assert [int(pixels[0, 0, 0]) for pixels in example.distractors] == [120, 180]
    assert len(set(example.distractor_keys) | {example.reference_key, example.target_key}) == 4


def test_the_same_draw_is_the_same_example_and_another_draw_another(dataset_of):
    first, second = dataset_of(augmentation=noise), dataset_of(augmentation=noise)
    one, same, other = first[0, 7], second[0, 7], first[0, 8]
    assert one.text == same.text and torch.equal(one.target, same.target) and torch.equal(one.reference, same.reference)
    assert not torch.equal(one.reference, other.reference) and not torch.equal(one.reference, one.target)
    assert {first[0, draw].text for draw in range(60)} == set(WORDINGS)
    assert not torch.equal(dataset_of(augmentation=noise, seed=1)[0, 7].target, one.target)


def test_an_image_looks_the_same_wherever_it_occurs_in_a_batch(dataset_of):
    """q0's target is q1's reference or not: what counts is the file."""
    dataset = dataset_of(augmentation=noise, draws_per_batch=4)
    seen = {}
    for position, draw in ((0, 4), (1, 5), (0, 6), (1, 7)):
        example = dataset[position, draw]
        for key, pixels in ((example.reference_key, example.reference), (example.target_key, example.target)):
            assert torch.equal(pixels, seen.setdefault(key, pixels))
    assert not torch.equal(dataset[0, 8].reference, dataset[0, 7].reference)


def test_neither_company_nor_the_global_state_matter(dataset_of):
    dataset = dataset_of(augmentation=noise)
    torch.manual_seed(0)
    first = dataset[0, 3]
    for draw in range(5):
        dataset[1, draw]
    torch.manual_seed(1)
    again = dataset[0, 3]
    assert first.text == again.text and torch.equal(first.reference, again.reference)


def test_workers_draw_the_same(dataset_of, tiny_preprocessing):
    dataset, keys = dataset_of(augmentation=noise), [(0, 0), (1, 1), (2, 2), (0, 3)]
    batches = [
        list(DataLoader(dataset, 2, sampler=keys, collate_fn=TripletCollator(tiny_preprocessing), num_workers=workers))
        for workers in (0, 1)
    ]
    for here, there in zip(*batches, strict=True):
        assert torch.equal(here.target, there.target) and torch.equal(here.text.input_ids, there.text.input_ids)


def test_several_sources_stand_in_a_row(source, tiny_preprocessing):
    records = [(source, triplet) for triplet in source.triplets("train")]
    dataset = TripletDataset([records[0], *records], "train", ImageReader(tiny_preprocessing.image))
    assert len(dataset) == 4
    assert [dataset[position, 0].query_id for position in range(4)] == ["q0", "q0", "q1", "q2"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "no image"])
def test_an_unreadable_image_names_file_query_and_source(dataset_of, source, damage):
    path = source.image_path("train", "1.png")
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(data[:60] if damage == "truncated" else b"<html>not found</html>")
    with pytest.raises(ValueError, match=r"train/1\.png .*\(query q0 of ours, split train\)"):
        dataset_of()[0, 0]


def test_a_batch(dataset_of, tiny_preprocessing):
    dataset = dataset_of(with_distractors=True)
    examples = [dataset[position, 0] for position in (0, 1, 2)]
    batch = TripletCollator(tiny_preprocessing)(examples)
    assert batch.query_ids == ("q0", "q1", "q2")
    assert batch.reference.shape == batch.target.shape == (3, 3, 16, 16) and batch.reference.dtype == torch.uint8
    assert batch.distractors.shape == (3, 3, 16, 16)  # two of the first record, one of the third
    keys = [image_key(dataset.records[0][0].image_path("train", f"{number}.png")) for number in range(4)]
    assert batch.reference_keys.tolist() == [keys[0], keys[1], keys[3]]
    assert batch.target_keys.tolist() == [keys[1], keys[2], keys[1]]  # the same image has the same key
    assert batch.distractor_keys.tolist() == [keys[2], keys[3], keys[0]]
    alone = tiny_preprocessing.tokenize([example.text for example in examples])
    assert torch.equal(batch.text.input_ids, alone.input_ids) and torch.equal(batch.text.mask, alone.mask)
    assert batch.text.input_ids.shape[1] == int(batch.text.mask.sum(dim=1).max())  # padded to the longest, not to 77


def test_a_batch_without_distractors_has_none(dataset_of, tiny_preprocessing):
    batch = TripletCollator(tiny_preprocessing)([dataset_of(with_distractors=True)[1, 0]])
    assert batch.distractors is None and batch.distractor_keys is None


def test_a_batch_moves_as_one(dataset_of, tiny_preprocessing):
    dataset = dataset_of(with_distractors=True)
    batch = TripletCollator(tiny_preprocessing)([dataset[0, 0]]).to("meta")
    assert batch.text.input_ids.device.type == batch.distractors.device.type == batch.target.device.type == "meta"
    assert batch.distractor_keys.device.type == batch.target_keys.device.type == "cpu"  # the host decides by them
    assert batch.query_ids == ("q0",)


def test_image_keys_are_those_of_files():
    assert image_key(Path("a/b.jpg")) == image_key(Path("a/b.jpg")) != image_key(Path("a/c.jpg"))
    assert 0 <= image_key(Path("a/b.jpg")) < 2**63
