from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest

from diptych.synthetic.rooms.scene import _ATTRIBUTE_WEIGHTS, KINDS, sample_hotel, sample_scene, scene_from_json
from diptych.synthetic.scenes import Change, Item, find_changes, pairs_by_num_changes, sample_states


def _hotels(count=60):
    return [sample_hotel(np.random.default_rng(seed)) for seed in range(count)]


def test_hotel_is_a_cube_in_which_every_bit_is_one_change():
    for hotel in _hotels():
        assert len(hotel.scenes) == len(set(hotel.scenes)) == 8
        for one, other in product(range(8), repeat=2):
            assert len(find_changes(hotel.scenes[one], hotel.scenes[other])) == (one ^ other).bit_count()


def test_states_of_a_varying_object_are_pairwise_one_change_apart():
    for hotel in _hotels():
        for name, states in hotel.states.items():
            assert len(states) == 2
            for one, other in combinations(states, 2):
                before, after = (hotel.scenes[0].with_items({name: state}) for state in (one, other))
                assert len(find_changes(before, after)) == 1


def test_every_combination_of_states_is_possible():
    for hotel in _hotels():
        for states in product(*hotel.states.values()):
            assert hotel.scenes[0].with_items(dict(zip(hotel.states, states, strict=True))).is_possible()


def test_sampled_items_stay_in_the_vocabulary():
    for seed in range(60):
        scene = sample_scene(np.random.default_rng(seed))
        for name, kind in KINDS.items():
            item = scene.item(name)
            assert item is not None or kind.optional
            if item is not None:
                for attribute in ("colour", "pattern", "place", "size", "count"):
                    values = kind.values(attribute)
                    assert getattr(item, attribute) in (values or (None,))


@pytest.mark.slow
def test_all_kinds_of_change_occur():
    """By object, not by hotel: a suitcase that can move, the chair being away, is one in thousands."""
    rng = np.random.default_rng(0)
    seen = set()
    for name in KINDS:
        for _ in range(1500):
            scene = sample_scene(rng)
            before, after = sample_states(KINDS[name], scene.item(name), _ATTRIBUTE_WEIGHTS, rng)
            (change,) = find_changes(scene.with_items({name: before}), scene.with_items({name: after}))
            seen.add((change.object, change.attribute))
    expected = {
        (name, attribute)
        for name, kind in KINDS.items()
        for attribute in ("colour", "pattern", "place", "size", "count")
        if kind.values(attribute)
    } | {(name, "presence") for name, kind in KINDS.items() if kind.optional}
    assert seen == expected


def test_find_changes_names_attribute_and_presence_and_reverses():
    base = sample_scene(np.random.default_rng(0)).with_items({"blanket": Item("blue", "plain"), "chair": None})
    chair = Item("red", place="left")
    other = base.with_items({"blanket": Item("green", "plain"), "chair": chair})
    assert find_changes(base, base) == ()
    assert find_changes(base, other) == (
        Change("blanket", "colour", "blue", "green"),
        Change("chair", "presence", None, chair),
    )
    assert find_changes(other, base) == (
        Change("blanket", "colour", "green", "blue"),
        Change("chair", "presence", chair, None),
    )
    assert find_changes(base, other)[1].to_json() == {
        "object": "chair",
        "attribute": "presence",
        "before": None,
        "after": {"colour": "red", "place": "left"},
    }


def test_find_changes_refuses_rooms_of_different_hotels():
    base = sample_scene(np.random.default_rng(0))
    with pytest.raises(ValueError, match="different groups"):
        find_changes(base, replace(base, style=replace(base.style, height=9.0)))


def test_lamp_and_plant_need_different_sides():
    base = sample_scene(np.random.default_rng(0))
    lamp, plant = Item("red", place="left"), Item(place="left", size="large")
    assert not base.with_items({"lamp": lamp, "plant": plant}).is_possible()
    assert base.with_items({"lamp": lamp, "plant": replace(plant, place="right")}).is_possible()


def test_scene_survives_json():
    for seed in range(20):
        scene = sample_scene(np.random.default_rng(seed))
        assert scene_from_json(scene.to_json()) == scene


@pytest.mark.parametrize("damage", [{}, {"style": {}}, {"style": {}, "objects": {"walls": {"colour": "red"}}}])
def test_damaged_scene_is_refused(damage):
    with pytest.raises(ValueError, match="not a scene description"):
        scene_from_json(damage)


def test_pairs_of_a_cube():
    pairs = pairs_by_num_changes(8)
    assert {num: len(group) for num, group in pairs.items()} == {1: 24, 2: 24, 3: 8}
    assert len({pair for group in pairs.values() for pair in group}) == 56
