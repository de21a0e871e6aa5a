"""Pictures are recognised, and words about rooms mean what they say."""

from __future__ import annotations

import base64
import io
import json
import math
import random

import numpy as np
import openai
import pytest
from asking import OBJECTS, ask, data_url
from PIL import Image

from diptych.annotation.answers import response_format
from diptych.annotation.candidate_question import CandidateVerdict
from diptych.synthetic.rooms.source import Rooms
from diptych.synthetic.server.rooms_answers import Untruth
from diptych.synthetic.server.rooms_language import (
    changes_between,
    describe_item,
    is_result,
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


def test_of_all_rooms_the_target_alone_is_the_result_of_a_text(folder):
    source = Rooms(folder)
    for split in ("val", "test"):
        items = {image.image_id: source.scene_of(split, image.image_id).items() for image in source.gallery(split)}
        for query in source.queries(split):
            found = [
                name for name, after in items.items() if is_result(query.text, items[query.reference_image], after)
            ]
            assert found == [query.target_image], query.text


def test_yes_or_no_to_a_candidate_is_wrong_as_often_as_asked_and_as_sure_as_it_is_right(serve, folder, pairs):
    form = response_format(CandidateVerdict)
    records = json.loads((folder / "captions/hotel_train_data.json").read_text())
    asked = [
        (record["difference"], reference, after, said)
        for record, (reference, target) in zip(records, pairs, strict=True)
        for after, said in ((target, "yes"), (reference, "no"))
    ]
    for rate, most, least in ((0.0, 0, 0), (0.3, 45, 15)):
        _, client = serve(scenes=folder, untruth=Untruth(candidates=rate))
        wrong = 0
        for text, reference, after, right in asked:
            urls = [reference.as_uri(), after.as_uri()]
            answer = ask(client, f"Is it?\n{text}", *urls, form=form, logprobs=True, top_logprobs=5)
            said = json.loads(answer.choices[0].message.content)["answer"]
            wrong += said != right
            (place,) = [one for one in answer.choices[0].logprobs.content if one.token == said]
            assert place.logprob == pytest.approx(math.log(1 - rate), abs=1e-6)
        assert least <= wrong <= most
    assert len(asked) == 96
    assert ask(client, f"Is it?\n{text}", *urls, form=form).choices[0].logprobs is None
    _, refusing = serve(scenes=folder, logprobs=False)
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        ask(refusing, f"Is it?\n{text}", *urls, form=form, logprobs=True)
