"""Every query of the rooms in several wordings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diptych.synthetic.rooms.paraphrases import ParaphrasedRooms
from diptych.synthetic.rooms.source import Rooms
from tiny_sets import TINY, tiny_set


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tiny_set("rooms", tmp_path_factory.mktemp("data") / "rooms")


def test_every_query_is_asked_in_every_wording_and_nothing_else_differs(root):
    queries = ParaphrasedRooms(root, [9, 12], TINY).queries("val")
    for place, number in enumerate((9, 12)):
        alone = Rooms(root, TINY, wordings=[number]).queries("val")
        assert queries[place::2] == [replace(one, query_id=f"{one.query_id}-wording-{number}") for one in alone]
    assert all(one.text != other.text for one, other in zip(queries[::2], queries[1::2], strict=True))
    assert len({query.query_id for query in queries}) == len(queries)


def test_gallery_and_protocol_are_the_rooms(root):
    source, rooms = ParaphrasedRooms(root, [9, 12], TINY, exclude_reference=True), Rooms(root, TINY)
    assert source.gallery("val") == rooms.gallery("val")
    protocol = source.protocol("val")
    assert protocol.name == "rooms_paraphrased_val" and protocol.exclude_reference
    assert protocol.text_template == "the changes in each of the wordings 9, 12"


def test_one_wording_is_no_paraphrase(root):
    with pytest.raises(ValueError, match=r"wordings=\[9\]: paraphrases need two or more"):
        ParaphrasedRooms(root, [9], TINY)
