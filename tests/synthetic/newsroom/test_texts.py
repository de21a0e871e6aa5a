"""The sentences of the newsroom are read as they stand in its YAML files, once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

import numpy as np
import pytest

from diptych.synthetic.newsroom.captions import STYLES, reference_captions
from diptych.synthetic.newsroom.casting import sample_events
from diptych.synthetic.newsroom.kinds import KINDS, Kind, Visible
from diptych.synthetic.newsroom.names import CULTURES
from diptych.synthetic.newsroom.scene import base_caption, sample_scene
from diptych.synthetic.newsroom.texts import read_texts
from diptych.synthetic.newsroom.writing import write_article

# Of the texts of 48 events of all kinds. Sets on users' disks hold these: new texts need a new `generate.VERSION`.
TEXTS_OF_VERSION_1 = "897b4fc688a03eb6d748f7ccfe8540daf183a841503408f7f26d1078a00f3e49"


def test_texts_are_what_version_1_of_the_set_holds():
    texts = []
    for event in sample_events(0, {"train": 12, "val": 0, "test": 0}):
        rng = np.random.default_rng(event.number)
        scene = sample_scene(event, rng)
        article = write_article(event, [], rng)
        captions = reference_captions(event, scene, rng)
        texts.append([article.title, article.content, captions, base_caption(scene, rng), event.to_json()])
    assert hashlib.sha256(json.dumps(texts).encode()).hexdigest() == TEXTS_OF_VERSION_1


def test_a_file_is_read_once_and_nobody_can_change_its_lists():
    assert read_texts("asides") is read_texts("asides")
    assert isinstance(read_texts("asides")["outlook"], tuple)
    with pytest.raises(FileNotFoundError):
        read_texts("nothing")


def test_kinds_are_complete_and_hold_texts_only():
    assert list(KINDS)[:5] == ["bridge_opening", "ship_launch", "railway_opening", "wind_farm", "flood"]
    for kind in KINDS.values():
        for field in fields(Kind):
            value = getattr(kind, field.name)
            if field.name not in ("repeats", "quantities", "visible"):
                texts = value if isinstance(value, tuple) else (value,)
                assert all(isinstance(text, str) and text for text in texts), (kind.name, field.name)
        assert isinstance(kind.visible, Visible) and kind.visible.fewest <= kind.visible.most


def test_words_that_yaml_reads_as_something_else_are_words():
    """`No`, `on` and `1` would be booleans and numbers without quotes."""
    names = [*read_texts("names")["venue_words"], *STYLES.values()]
    for culture in CULTURES:
        names += [*culture.given, *culture.family, *culture.town_starts, *culture.town_ends]
    assert all(isinstance(name, str) for name in names)
