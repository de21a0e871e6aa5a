"""The market's scenes, texts and pictures; what it shares with the rooms is tested there."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from diptych.commands.main import run
from diptych.synthetic.clauses import NUMBER_WORDS, PATTERN_WORDS
from diptych.synthetic.market.drawing import draw_stall, sample_photograph
from diptych.synthetic.market.generate import MARKET, MarketSettings, draw_sheet, generate_market
from diptych.synthetic.market.language import APRONS, NOUNS, describe_change, describe_changes
from diptych.synthetic.market.scene import (
    _ATTRIBUTE_WEIGHTS,
    GOODS,
    KINDS,
    sample_scene,
    sample_stall,
    scene_from_json,
)
from diptych.synthetic.market.source import Market
from diptych.synthetic.rooms import scene as rooms
from diptych.synthetic.scenes import ATTRIBUTES, Change, Item, find_changes, sample_states
from diptych.synthetic.triplet_sets import SPLITS

SMALL = MarketSettings(0, 2, 1, 1, 8, 4)
JSON_OF_VERSION_1 = "85d5cb1ace2484a5c6cfc2f48b51c47de114b60c17a9d95be0591ba9ce278646"
BASE = sample_scene(np.random.default_rng(1)).with_items({"left_crate": Item(goods="fish")})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return generate_market(tmp_path_factory.mktemp("market") / "set", SMALL, num_workers=1)


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def words_of(text):
    return set(re.findall(r"[a-z]+", text.lower()))


def examples(count):
    for seed in range(count):
        rng = np.random.default_rng(seed)
        stall = sample_stall(rng)
        reference, target = rng.choice(8, 2, replace=False).tolist()
        before, after = stall.scenes[reference], stall.scenes[target]
        yield before, find_changes(before, after), rng


def test_crates_never_hold_the_same():
    for seed in range(40):
        for scene in sample_stall(np.random.default_rng(seed)).scenes:
            assert scene.left_crate.goods != scene.right_crate.goods


def test_some_kinds_of_change_are_shared_with_the_rooms_and_some_are_not():
    kinds, of_rooms = (
        {n for n in ATTRIBUTES if any(k.values(n) for k in world.values())} for world in (KINDS, rooms.KINDS)
    )
    assert kinds & of_rooms == {"colour", "pattern", "place", "count"}
    assert kinds - of_rooms == {"goods", "price"} and of_rooms - kinds == {"size"}
    assert not set(KINDS) & set(rooms.KINDS)


def test_texts_say_what_changed_and_nothing_else():
    colours = {colour for kind in KINDS.values() for colour in kind.colours}
    for before, changes, rng in examples(300):
        text = describe_changes(changes, before, rng)
        words, said = words_of(text), set()
        for change in changes:
            if isinstance(change.after, Item):
                told = change.after.to_json().items()
            else:
                told = [(change.attribute, change.after)] if change.after is not None else []
            for attribute, value in told:
                expected = {"pattern": PATTERN_WORDS.get(value, ()), "count": (), "price": ()}.get(attribute, (value,))
                assert words & {*expected, *(NUMBER_WORDS[value : value + 1] if isinstance(value, int) else ())}, text
            for value in (change.before, change.after):
                said |= set(value.to_json().values()) if isinstance(value, Item) else {value}
        assert (words & colours) <= said and (words & set(GOODS)) <= said, text
        for name in KINDS.keys() - {change.object for change in changes} - {"sign"}:  # `the sign should say two`
            assert not any(re.search(rf"\b{noun}\b", text.lower()) for noun in NOUNS[name]), text
        assert "{" not in text and "None" not in text and "  " not in text and len(words) < 50


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("awning", "colour", "blue", "green"), "swap the blue canopy for a green one"),
        (Change("cloth", "colour", "blue", "green"), "dye the tablecloth green"),
        (Change("seller", "colour", "blue", "red"), f"make the {APRONS[1]} red"),
        (Change("flowers", "colour", "blue", "red"), "swap the blue flowers for red ones"),
        (Change("left_crate", "goods", "fish", "apples"), "put apples in the left crate"),
        (Change("left_crate", "goods", "fish", "apples"), "swap the fish for apples"),
        (Change("sign", "price", 2, 5), "raise the price from two to five"),
        (Change("sign", "price", 5, 2), "lower the price to two"),
        (Change("lanterns", "count", 2, 1), "have one paper lantern instead of two"),
        (Change("barrel", "place", "left", "right"), "the barrel stands on the right, not on the left"),
        (Change("flowers", "place", "left", "right"), "the flowers stand on the right, not on the left"),
        (Change("sign", "presence", None, Item("blue", price=8)), "add a blue board with the price eight"),
        (Change("seller", "presence", None, Item("red")), "let a vendor in a red apron serve"),
        (Change("lanterns", "presence", None, Item("red", count=1)), "string up one red lantern"),
        (Change("flowers", "presence", Item("red", place="left"), None), "take the flowers away"),
        (Change("pumpkins", "presence", None, Item(count=3)), "add three pumpkins"),
    ],
)
def test_wordings_are_english(change, expected):
    wordings = {describe_change(change, BASE, np.random.default_rng(seed)) for seed in range(300)}
    assert expected in wordings and len(wordings) >= 5


def test_every_change_shows_at_the_size_that_small_models_see():
    """Of every object and kind of change: two days one change apart, photographed alike, differ at 64 pixels."""
    rng, seen = np.random.default_rng(0), set()
    expected = {(name, attribute) for name, kind in KINDS.items() for attribute in ATTRIBUTES if kind.values(attribute)}
    expected |= {(name, "presence") for name, kind in KINDS.items() if kind.optional}
    while seen != expected:
        scene = sample_scene(rng)
        photograph = replace(sample_photograph(scene.style, rng), noise=0.0)
        for name, kind in KINDS.items():
            states = sample_states(kind, scene.item(name), dict.fromkeys(_ATTRIBUTE_WEIGHTS, 1.0), rng)
            before, after = (scene.with_items({name: state}) for state in states)
            (change,) = find_changes(before, after)
            if (name, change.attribute) in seen:
                continue
            seen.add((name, change.attribute))
            one, other = (
                cv2.resize(draw_stall(day, photograph), (64, 64), interpolation=cv2.INTER_AREA).astype(float)
                for day in (before, after)
            )
            assert (np.abs(one - other).max(-1) > 24).sum() >= 8, change


def test_pictures_are_full_and_the_same_again():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = sample_stall(rng).scenes[0]
        photograph = replace(sample_photograph(scene.style, rng), noise=0.0)
        picture = draw_stall(scene, photograph)
        np.testing.assert_array_equal(picture, draw_stall(scene, photograph))
        assert picture.max(-1).min() > 15  # nothing unpainted


def test_scenes_are_read_back(root):
    path = next((root / "scenes").rglob("*.json"))
    value = json.loads(path.read_text())["scene"]
    assert scene_from_json(value).to_json() == value
    with pytest.raises(ValueError, match=r"not a scene description of the market set.*house"):
        scene_from_json({**value, "objects": {}})


def test_the_set_is_read_as_the_rooms_are(root):
    source = Market(root, SMALL)
    source.prepare()
    for split in SPLITS:
        assert len(source.queries(split)) == SMALL.num_groups(split) * SMALL.num_triplets(split)
    (query, *_), protocol = source.queries("val"), source.protocol("val")
    assert re.fullmatch(r"block_00/stall_0002/day_10\d\.jpg", query.target_image)
    assert query.aspects[0].startswith("changes_") and query.aspects[1].startswith("changed_")
    assert protocol.name == "market_val" and source.image_path("val", query.target_image).is_file()


def test_the_market_is_that_of_version_1(root):
    """Whoever changes texts, scenes or pictures counts `MARKET.version` on."""
    lines = [text for path, text in sorted(contents(root).items()) if path.endswith(".json")]
    assert MARKET.version == 1 and hashlib.sha256(b"".join(lines)).hexdigest() == JSON_OF_VERSION_1
    committed = cv2.imread(str(Path(__file__).parents[3] / "docs/images/market.png"), cv2.IMREAD_COLOR_RGB)
    assert np.abs(draw_sheet(0).astype(int) - committed).max() <= 1  # another processor may round another way


def test_wrong_settings_are_named_in_the_worlds_words():
    with pytest.raises(ValueError, match="num_val_stalls=0 is too small for a market set"):
        MarketSettings(num_val_stalls=0)
    with pytest.raises(ValueError, match="a stall of eight days has only 56 ordered pairs"):
        MarketSettings(triplets_per_train_stall=57)


def test_command_line(tmp_path):
    few = [f"num_{split}_stalls=1" for split in SPLITS]
    assert run("generate market", [f"out={tmp_path / 'set'}", "seed=4", "workers=1", *few]) == 0
    manifest = json.loads((tmp_path / "set" / MARKET.manifest_name).read_text(encoding="utf-8"))
    assert manifest["seed"] == 4 and manifest["num_train_stalls"] == 1
