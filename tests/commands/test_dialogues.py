"""Rounds of search with a user who knows what still differs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from diptych.annotation.audit import audit_pair
from diptych.commands.dialogues import Dialogue, Dialogues, found_by_round, hold
from diptych.synthetic.rooms.source import Rooms
from tiny_sets import tiny_set


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return Rooms(tiny_set("rooms", tmp_path_factory.mktemp("sets") / "rooms"))


def talk(rooms, history, num_rounds, vectors):
    """The dialogue about the first query; `vectors` are what each round is embedded as, images are axes of space."""
    (query, *_), ids = rooms.queries("val"), [image.image_id for image in rooms.gallery("val")]
    asked, said = [], iter(vectors)

    def embed(paths, texts):
        asked.append((paths[0], texts[0]))
        return torch.stack([next(said)(query, ids)]), [False]

    dialogue = Dialogue(query, [query.text], [query.reference_image])
    hold([dialogue], rooms, "val", (ids, torch.eye(len(ids))), embed, history, num_rounds)
    return dialogue, asked, ids


def toward(**weights):
    """A vector along the axes of the query's reference and target, and of the first image that is neither."""

    def vector(query, ids):
        other = next(one for one in ids if one not in (query.reference_image, query.target_image))
        places = {"reference": query.reference_image, "target": query.target_image, "other": other}
        row = torch.zeros(len(ids))
        for name, weight in weights.items():
            row[ids.index(places[name])] = weight
        return torch.nn.functional.normalize(row, dim=0)

    return vector


def test_the_user_says_what_differs_between_the_picture_shown_and_the_target(rooms):
    first, found = toward(reference=1, target=0.5), toward(target=1)
    dialogue, asked, _ = talk(rooms, "last", 5, [first, found])
    assert dialogue.ranks == [2, 1]  # and no further round
    assert dialogue.shown == [dialogue.query.reference_image, dialogue.query.target_image]
    assert asked[1] == (rooms.image_path("val", dialogue.query.reference_image), dialogue.texts[1])
    one, other = (
        rooms.scene_of("val", name).to_json()["objects"]
        for name in (dialogue.query.reference_image, dialogue.query.target_image)
    )
    audit = audit_pair([dialogue.texts[1]], one, other)
    assert audit.verdicts == ("right",) and not audit.missed


def test_what_a_round_searches_with(rooms):
    wrong = toward(other=1, target=0.5)
    dialogue, asked, _ = talk(rooms, "joined", 2, [wrong, wrong])
    reference = rooms.image_path("val", dialogue.query.reference_image)
    assert [path for path, _ in asked] == [reference] * 2
    for text in dialogue.texts[:2]:
        assert text.strip(".").lower() in asked[1][1].lower()
    dialogue, asked, _ = talk(rooms, "first", 3, [wrong] * 3)
    assert asked == asked[:1] * 3 and dialogue.ranks == [2, 2, 2]
    # (.89, .45) and (0, 1) along other and target: of their mean the target is nearer
    dialogue, asked, _ = talk(rooms, "mean", 2, [wrong, toward(target=1)])
    assert dialogue.ranks == [2, 1]
    assert asked[1][0] == rooms.image_path("val", dialogue.shown[0])
    dialogue, _, _ = talk(rooms, "mean", 2, [wrong, toward(other=1, target=1)])
    assert dialogue.ranks == [2, 2]


def test_found_stays_found():
    assert found_by_round({"ranks": [4, 1], "truncated": True}, 3) == {
        "recall_at_1_round_1": 0.0,
        "recall_at_1_round_2": 1.0,
        "recall_at_1_round_3": 1.0,
        "truncated": 1.0,
    }


def test_of_photographs_nobody_knows_what_differs(tmp_path):
    source = SimpleNamespace(name="cirr", untrue_kinds=())
    with pytest.raises(ValueError, match="cirr: nobody knows what still differs"):
        Dialogues(tmp_path, source, "val", "last", 5, "dialogues", tmp_path).ids()
    with pytest.raises(ValueError, match="history=all: one of first, last, mean, joined"):
        Dialogues(tmp_path, source, "val", "all", 5, "dialogues", tmp_path)
