"""The datamodule: mixes, missing images, and the settings that it refuses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from diptych.contracts.retrieval import QueryBatch
from diptych.data.triplets.augmentation import ColorJitter
from diptych.data.triplets.cir_datamodule import CIRDataModule
from diptych.data.triplets.cirr import CIRR
from diptych.data.triplets.from_files import FromFiles
from diptych.data.triplets.image_settings import ImageSettings
from diptych.data.triplets.mined_negatives import MinedNegatives
from diptych.data.triplets.triplet_dataset import image_key
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.rooms.source import Rooms
from tiny_sets import tiny_set

SETTINGS = RoomsSettings(num_train_hotels=6, num_val_hotels=28, num_test_hotels=28)


@pytest.fixture
def make(data, tiny_preprocessing):
    def build(*names, root=data, wants=(), noun_phrases=None, mined=None, **settings):
        sources = {"rooms": Rooms(root / "rooms", SETTINGS), "cirr": CIRR(root / "cirr")}
        chosen = {name: sources[name] for name in names or ("rooms",)}
        own = {key: settings.pop(key) for key in ("train_on", "evaluate_on") if key in settings}
        training = FromFiles(**{"batch_size": 4} | settings)
        own |= {"noun_phrases": noun_phrases, "mined": mined}
        module = CIRDataModule(chosen, tiny_preprocessing, training, **own, num_workers=0)
        module.trainer = SimpleNamespace(max_steps=6, accumulate_grad_batches=1)
        module.prepare_for(SimpleNamespace(wants=frozenset(wants)))
        return module

    return build


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"hotel": 1.0}}, r"data\.training\.weights names \['hotel'\]"),
        ({"train_on": ["hotel"]}, r"data\.train_on=\['hotel'\]"),
        ({"evaluate_on": []}, r"data\.evaluate_on=\[\]"),
        ({"group_size": 0}, r"data\.training\.group_size=0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_a_bank_of_images_that_are_read_anew_is_refused(make):
    with pytest.raises(ValueError, match=r"data/training=files reads others.*data/training=features .*freeze=all"):
        make(wants=["bank"])


def test_mined_negatives_come_as_distractors_of_their_query(make, tmp_path):
    rooms = make().sources["rooms"]
    gallery = [image.image_id for image in rooms.gallery("train")]
    lines = [
        {"query_id": one.query_id, "ranked_ids": gallery, "scores": [0.5] * len(gallery)}
        for one in rooms.queries("train")
    ]
    (tmp_path / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    mined = MinedNegatives(str(tmp_path / "predictions.jsonl"), k=2)
    batch = next(iter(make(wants=["distractors"], mined=mined).train_dataloader()))
    triplets = {one.query_id: one for one in rooms.triplets("train")}
    names = [
        [name for name in gallery if name not in (one.reference_image, one.target_image)][:2]
        for one in map(triplets.get, batch.query_ids)
    ]
    expected = [image_key(rooms.image_path("train", name)) for two in names for name in two]
    assert batch.distractor_keys.tolist() == expected and len(batch.distractors) == 8
    with pytest.raises(ValueError, match=r"data\.mined\.rankings gives .*system\.loss\.distractor_negatives=true"):
        make(mined=mined)


def test_settings_of_images_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"data\.images\.on_missing='ignore'"):
        ImageSettings(on_missing="ignore")


def test_evaluation_alone_needs_no_training_part(data, tiny_preprocessing):
    module = CIRDataModule({"rooms": Rooms(data / "rooms", SETTINGS)}, tiny_preprocessing)
    assert module.evaluation_sets("val")
    with pytest.raises(ValueError, match="choose data/training=files, features or shards"):
        module.prepare_training()


def test_a_mix_draws_by_weight(make):
    module = make("rooms", "cirr", weights={"rooms": 0.0, "cirr": 1.0})
    batches = list(module.train_dataloader())
    assert len(batches) == 6
    ids = {query_id for batch in batches for query_id in batch.query_ids}
    assert ids <= {triplet.query_id for triplet in module.sources["cirr"].triplets("train")}


def test_a_resumed_module_goes_on_with_the_next_batch(make):
    whole = list(make(augmentation=ColorJitter()).train_dataloader())
    resumed = make(augmentation=ColorJitter())
    resumed.load_state_dict({"batches": 4})
    for one, other in zip(whole[4:], resumed.train_dataloader(), strict=True):
        assert one.query_ids == other.query_ids and torch.equal(one.reference, other.reference)


def test_equal_keys_are_equal_pixels_under_augmentation(make):
    for batch in make(augmentation=ColorJitter(), group_size=4, batch_size=12).train_dataloader():
        seen = {}
        for keys, images in ((batch.reference_keys, batch.reference), (batch.target_keys, batch.target)):
            for key, pixels in zip(keys.tolist(), images, strict=True):
                assert torch.equal(pixels, seen.setdefault(key, pixels))
        assert len(seen) < 24  # rooms of one hotel do occur twice


def test_another_folder_is_trained_on_in_the_same_way(make, data, tiny_preprocessing, tmp_path):
    (tmp_path / "rooms").symlink_to(data / "rooms", target_is_directory=True)
    moved = make(augmentation=ColorJitter(), root=tmp_path)
    for one, other in zip(make(augmentation=ColorJitter()).train_dataloader(), moved.train_dataloader(), strict=True):
        assert torch.equal(one.reference, other.reference) and torch.equal(one.target, other.target)


class LongWords:
    """Finds words of four letters or more; remembers what it was asked."""

    def __init__(self):
        self.read = []

    def load(self):
        pass

    def phrases(self, texts):
        self.read += texts
        return [tuple(word for word in text.split() if len(word) > 3 and word.isalpha()) for text in texts]


def test_noun_phrases_of_every_text_are_found_once_and_before_training(make):
    finder = LongWords()
    module = make("rooms", "cirr", wants=["concepts"], noun_phrases=finder, caption_policy="join")
    joined = [
        " ".join(text.strip() for text in triplet.modification_texts)
        for source in module.sources.values()
        for triplet in source.triplets("train")
    ]
    assert sorted(finder.read) == sorted(set(joined))
    batches = list(module.train_dataloader())
    assert all(len(batch.concepts.rows) for batch in batches)
    assert len(finder.read) == len(set(joined))


def test_noun_phrases_are_not_looked_for_unless_a_loss_wants_them(make):
    finder = LongWords()
    assert next(iter(make(noun_phrases=finder).train_dataloader())).concepts is None
    assert finder.read == []
    with pytest.raises(ValueError, match="^data.noun_phrases is not there"):
        make(wants=["concepts"])


def test_groups_come_side_by_side(make):
    module = make(group_size=4, batch_size=4)
    triplets = {triplet.query_id: triplet.group for triplet in module.sources["rooms"].triplets("train")}
    for batch in module.train_dataloader():
        assert len({triplets[query_id] for query_id in batch.query_ids}) == 1


def test_every_set_has_a_query_and_a_gallery_loader(make):
    module = make("rooms", "cirr")
    loaders = module.val_dataloader()
    assert len(loaders) == 4
    batches = [next(iter(loader)) for loader in loaders]
    assert [isinstance(batch, QueryBatch) for batch in batches] == [True, False] * 2
    assert [batch.set_index for batch in batches] == [0, 0, 1, 1]
    tested = module.to_test("val")
    assert (tested.split, len(tested.test_dataloader())) == ("val", 4) and tested.sets == module.evaluation_sets("val")
    assert [evaluation.name for evaluation in module.evaluation_sets("val")] == [
        s.name for s in module.sources.values()
    ]


@pytest.fixture
def torn(tmp_path):
    """CIRR without one of its validation images, and the folder of the images."""
    root = tiny_set("cirr", tmp_path / "torn")
    name = "dev-1-0-img1"
    (root / f"img_raw/dev/{name}.png").unlink()
    return root, name


def test_a_missing_image_is_refused_or_leaves_with_everything_that_needs_it(torn, tiny_preprocessing):
    root, name = torn
    with pytest.raises(ValueError, match=r"59 of 60 images.*data.images.on_missing=drop"):
        CIRDataModule({"cirr": CIRR(root)}, tiny_preprocessing).evaluation_sets("val")
    module = CIRDataModule({"cirr": CIRR(root)}, tiny_preprocessing, images=ImageSettings(on_missing="drop"))
    (evaluation,) = module.evaluation_sets("val")
    assert evaluation.protocol.partial == "59/60"
    for query in evaluation.queries:
        assert name not in {query.reference_image, query.target_image, *query.relevant_ids, *query.group_member_ids}


def test_training_without_one_complete_triplet_is_refused(data, tmp_path, tiny_preprocessing):
    root = tmp_path / "rooms"
    generate_rooms(root, RoomsSettings(num_train_hotels=1, num_val_hotels=1, num_test_hotels=1), num_workers=1)
    for image in (root / "images/train").rglob("*.jpg"):
        image.unlink()
    settings = RoomsSettings(num_train_hotels=1, num_val_hotels=1, num_test_hotels=1)
    images = ImageSettings(on_missing="drop")
    module = CIRDataModule({"rooms": Rooms(root, settings)}, tiny_preprocessing, FromFiles(), images=images)
    with pytest.raises(ValueError, match="no training triplet"):
        module.prepare_for(SimpleNamespace(wants=frozenset()))
