"""Pictures are recognised, and words about rooms mean what they say."""

from __future__ import annotations

import base64
import io
import random

import numpy as np
import openai
import pytest
from asking import OBJECTS, ask, data_url
from PIL import Image

from diptych.synthetic.server.rooms_language import (
    changes_between,
    describe_item,
    is_true,
    misdescribed,
    read_items,
    say_change,
    untrue_change,
)

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(("side", "quality"), [(None, 70), (96, 90), (64, 90), (300, 80)])
def test_every_picture_is_recognised_whatever_the_client_does_to_it(rooms, folder, side, quality):
    paths = sorted((folder / "images").rglob("*.jpg"))
    assert len(paths) > 80
    for path in paths:
        seen = rooms.recognise(data_url(path, side, quality))
        assert seen.number == rooms.recognise(path.as_uri()).number
        assert (seen.width, seen.height) == ((side, side) if side else (128, 128))


def test_urls_name_pictures_by_the_end_of_their_path(rooms, folder):
    name = sorted((folder / "images").rglob("*.jpg"))[3].relative_to(folder).as_posix()
    assert rooms.recognise(f"https://example.com/some/{name}?size=large").number == 3
    with pytest.raises(ValueError, match="knows pictures of the set"):
        rooms.recognise("https://example.com/images/other.jpg")


def test_other_pictures_are_refused(rooms, serve, folder):
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)).save(buffer, "JPEG")
    strange = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    _, client = serve(scenes=folder)
    for url, message in ((strange, "grey levels away"), ("data:image/png;base64,AAAA", "holds no picture")):
        with pytest.raises(openai.BadRequestError, match=message):
            ask(client, "What is there?", url, form=OBJECTS)


def test_sentences_are_true_exactly_when_the_change_is(rooms):
    rng = random.Random(0)
    said: set[str] = set()
    for _ in range(400):
        one = rng.randrange(len(rooms))
        before, after = rooms.items(one), rooms.items(rng.randrange(max(0, one - 7), min(len(rooms), one + 8)))
        for change in changes_between(before, after):
            false = untrue_change(change, before, after, rng)
            for turn in range(5):
                sentence = say_change(change, before.get(change.object), rng, turn)
                assert is_true(sentence, before, after), (change, sentence)
                said.add(sentence)
            sentence = say_change(false, before.get(false.object), rng, rng.randrange(5))
            assert not is_true(sentence, before, after), (false, sentence)
    assert len(said) > 1000


def test_descriptors_say_what_the_object_is(rooms):
    rng = random.Random(0)
    for number in range(len(rooms)):
        items = rooms.items(number)
        assert read_items([describe_item(kind, item, rng) for kind, item in items.items()]) == items
        for kind, item in items.items():
            assert len(changes_between({kind: item}, {kind: misdescribed(kind, item, rng)})) == 1
