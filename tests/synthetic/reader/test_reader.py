"""Readers are trained once, alike, on hotels of their own, and kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diptych.synthetic.reader import lessons as of_lessons
from diptych.synthetic.reader import training
from diptych.synthetic.reader.fields import FIELDS, NOT_THERE, PRESENCE_OF, states_of
from diptych.synthetic.reader.lessons import lessons, seen
from diptych.synthetic.reader.networks import SIDE
from diptych.synthetic.reader.reader import Reader, ReaderSettings
from diptych.synthetic.rooms.generate import RoomsSettings
from diptych.synthetic.rooms.scene import KINDS, sample_hotel
from diptych.synthetic.triplet_sets import GroupTask

TINY = ReaderSettings(width=2, steps=2, num_hotels=2, seed=3)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
OTHER = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


def numbers(reader: Reader) -> list[np.ndarray]:
    pair = reader.compare(PICTURE, OTHER)
    return [*reader.look(PICTURE).log_probs, pair.changed, *pair.before.log_probs, *pair.after.log_probs]


def test_equal_settings_make_equal_readers_and_a_kept_one_is_not_trained_again(folder, tmp_path, monkeypatch):
    first = numbers(Reader(folder, TINY))
    assert len(first) == 3 * len(FIELDS) + 1 and all(np.isfinite(values).all() for values in first)
    again = numbers(Reader(tmp_path, TINY))
    other = numbers(Reader(folder, ReaderSettings(width=2, steps=2, num_hotels=2, seed=4)))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(np.array_equal(one, two) for one, two in zip(first, other, strict=True))
    monkeypatch.setattr(training, "_trained", None)
    kept = numbers(Reader(folder, TINY))
    assert all(np.array_equal(one, two) for one, two in zip(first, kept, strict=True))


def test_training_leaves_the_callers_chance_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    Reader(tmp_path, TINY).look(PICTURE)
    assert torch.equal(torch.rand(3), expected)


def test_a_killed_training_leaves_nothing_and_another_readers_network_is_refused(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(torch.optim, "AdamW", killed)
        Reader(tmp_path, TINY).look(PICTURE)
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["lessons-2"]
    Reader(tmp_path, TINY).look(PICTURE)
    (kept,) = tmp_path.glob("picture-*")
    (kept / "model.safetensors").write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"holds no whole network .*; remove it, and it is trained again"):
        Reader(tmp_path, TINY).look(PICTURE)
    manifest = json.loads((kept / "reader.json").read_text())
    (kept / "reader.json").write_text(json.dumps({**manifest, "steps": 9}))
    with pytest.raises(ValueError, match="describes another reader set"):
        Reader(tmp_path, TINY).look(PICTURE)


def test_lessons_are_of_no_sets_hotels_and_their_states_are_those_of_the_rooms(folder):
    pictures, states = lessons(folder / "lessons-2", 2)
    assert pictures.shape == (2, of_lessons.ROOMS, 3, SIDE, SIDE)
    rng = np.random.default_rng(np.random.SeedSequence([of_lessons._OWN, 1]))
    rooms = sample_hotel(rng).scenes
    assert states[1].tolist() == [states_of({name: room.item(name) for name in KINDS}) for room in rooms]
    known = [sample_hotel(GroupTask(folder, RoomsSettings(seed=seed), "train", 1).rng()) for seed in range(5)]
    assert all(hotel.scenes[0] != rooms[0] for hotel in known)
    lamp = PRESENCE_OF["lamp"]
    absent = states[:, :, lamp] == 0
    assert (states[:, :, lamp + 1][absent] == NOT_THERE).all() and (states[:, :, lamp + 1][~absent] >= 0).all()


def test_changes_are_those_of_what_is_in_both_rooms():
    before, after = (
        torch.tensor([[1, 2, 0, 3], [0, NOT_THERE, 1, 3]]),
        torch.tensor([[1, 1, 0, 3], [1, 2, 1, NOT_THERE]]),
    )
    assert training.changes_of(before, after).tolist() == [[False, True, False, False], [True, False, False, False]]


def test_pairs_are_as_many_changes_apart_as_a_sets():
    torch.manual_seed(0)
    hotels, before, after = training.sample_pairs(5, 4000)
    apart = [(one ^ other).bit_count() for one, other in zip(before.tolist(), after.tolist(), strict=True)]
    assert set(hotels.tolist()) == set(range(5))
    assert [apart.count(number) / 4000 for number in (1, 2, 3)] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)


def test_a_picture_of_any_size_is_seen_alike():
    assert seen(OTHER).shape == seen(PICTURE).shape == (3, SIDE, SIDE)


@pytest.mark.parametrize("name", ["width", "steps", "num_hotels"])
def test_sizes_that_make_no_sense_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0 is too small for a reader"):
        ReaderSettings(**{name: 0})
