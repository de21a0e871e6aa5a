"""The bank holds every training image once, as the model embeds it, and knows which of them answer a query."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diptych.contracts.models import ImageFeatures
from diptych.contracts.retrieval import Triplet, TripletSource
from diptych.data.triplets.target_bank import target_bank
from diptych.data.triplets.triplet_dataset import TripletDataset, image_key

CPU = torch.device("cpu")


class Listed(TripletSource):
    """Triplets whose images need not exist."""

    docs_page, splits = "docs/own_data.md", ("train",)

    def __init__(self, name: str, *triplets: Triplet) -> None:
        self.name, self.root, self.listed = name, Path("/nowhere"), triplets

    def triplets(self, split: str) -> list[Triplet]:
        return list(self.listed)

    def image_path(self, split: str, image_id: str) -> Path:
        return self.root / image_id


class Embeds(nn.Module):
    """A model whose gallery is the features' embedding, scaled by what is trained or is not."""

    def __init__(self, trained: bool) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3), requires_grad=trained)
        self.query = nn.Linear(1, 1)
        self.dropout = nn.Dropout(0.5)

    def embed_image(self, image: ImageFeatures) -> torch.Tensor:
        return F.normalize(self.dropout(image.embedding * self.scale), dim=-1)


def feature_of(path: Path) -> ImageFeatures:
    number = float(ord(path.name))
    return ImageFeatures(torch.zeros(2, 4), torch.tensor([number, 1.0, number**0.5]).half(), torch.zeros(4))


def bank_of(*sources: Listed, trained: bool = False, size: int = 2):
    records = [(source, triplet) for source in sources for triplet in source.listed]
    dataset = TripletDataset(records, "train", None)
    return target_bank(dataset, SimpleNamespace(image=feature_of), Embeds(trained), size, CPU)


def key(name: str) -> int:
    return image_key(Path("/nowhere") / name)


def names(bank, query_id: str, reference: str) -> str:
    by_row = {row: name for name in "abcdefg" for row in [bank.rows.get(key(name))]}
    return "".join(sorted(by_row[row] for row in bank.answers.get((query_id, key(reference)), ())))


@pytest.mark.parametrize("size", [1, 2, 100])
def test_every_image_is_there_once(size):
    first = Listed("one", Triplet("1", "a", ("red",), "b"), Triplet("2", "b", ("blue",), "c"))
    bank = bank_of(first, Listed("two", Triplet("1", "c", ("green",), "d")), size=size)
    assert bank.rows == {key(name): row for row, name in enumerate("abcd")}  # in the data's order, not the keys'
    expected = F.normalize(torch.stack([feature_of(Path(name)).embedding.float() for name in "abcd"]), dim=-1)
    torch.testing.assert_close(bank.embeddings, expected)
    assert not bank.embeddings.requires_grad and bank.answers == {}


def test_other_answers_are_those_that_are_listed_and_those_of_the_same_words():
    one = Listed(
        "one",
        Triplet("1", "a", ("red", "scarlet"), "b"),
        Triplet("2", "a", ("red",), "c"),
        Triplet("3", "a", ("scarlet",), "d"),
        Triplet("4", "b", ("red",), "d"),
        Triplet("5", "c", ("big",), "d", relevant_ids=("d", "e", "a", "c")),  # e is no image of the training data
    )
    bank = bank_of(one, Listed("two", Triplet("1", "a", ("blue",), "c")))
    assert names(bank, "1", "a") == "cd"  # of the query 1 of either source: a reference has one meaning
    assert names(bank, "2", "a") == "b" and names(bank, "3", "a") == "b"
    assert names(bank, "4", "b") == ""
    assert names(bank, "5", "c") == "a"


def test_the_wordings_of_one_query_share_their_answers():
    """As they do where every wording is a record of its own."""
    whole = Triplet("1", "a", ("red", "scarlet"), "b"), Triplet("2", "a", ("scarlet",), "d")
    exploded = Triplet("1", "a", ("red",), "b"), Triplet("1", "a", ("scarlet",), "b"), whole[1]
    assert bank_of(Listed("one", *whole)).answers == bank_of(Listed("one", *exploded)).answers


def test_a_gallery_that_is_trained_is_refused_and_the_model_left_as_it_was():
    one = Listed("one", Triplet("1", "a", ("red",), "b"))
    with pytest.raises(ValueError, match=r"info_nce_bank .* and Embeds trains them: choose a system/model"):
        bank_of(one, trained=True)
    model = Embeds(trained=False)
    target_bank(TripletDataset([(one, one.listed[0])], "train", None), SimpleNamespace(image=feature_of), model, 2, CPU)
    assert model.training
