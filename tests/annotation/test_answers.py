import json

import pytest

from diptych.annotation.answers import (
    ImageDescription,
    InvalidAnswer,
    Modifications,
    fewest_sentences,
    parse,
    response_format,
)
from diptych.contracts.pipelines import Answer

LAMP = {"name": "lamp", "descriptors": ["brass", "tall"]}
BED = {"name": "bed", "descriptors": ["white linen"]}
DESCRIPTION = json.dumps({"objects": [LAMP, BED]})
SENTENCES = ["Add a lamp.", "Remove the rug from Mr. Lee's 3.5 m floor.", "Paint the walls, e.g. in blue."]


def answer(text, finish_reason="stop"):
    return Answer(text, finish_reason, {}, 0.1)


def refusal(form, text, finish_reason="stop", **limits):
    with pytest.raises(InvalidAnswer) as caught:
        parse(form, answer(text, finish_reason), **limits)
    return caught.value


def modifications(*sentences):
    return json.dumps({"sentences": list(sentences)})


@pytest.mark.parametrize(
    "text",
    [
        DESCRIPTION,
        f"```json\n{DESCRIPTION}\n```",
        f"Here it is {{as asked}}:\n{DESCRIPTION}\nAnything else?",
        f'{{"result": {DESCRIPTION}}}',
        f'{{"objects": []}} or rather {DESCRIPTION}',
        f'<think>{{"objects": [{json.dumps(BED)}]}}</think>{DESCRIPTION}',
        json.dumps({"objects": [LAMP, BED], "note": "read by nobody"}),
        f"I'm sorry, it took a while. {DESCRIPTION}",
    ],
)
def test_the_first_json_value_of_the_form_counts(text):
    found = parse(ImageDescription, answer(text))
    assert [(item.name, item.descriptors) for item in found.objects] == [tuple(LAMP.values()), tuple(BED.values())]


@pytest.mark.parametrize(
    "word", ["stop", "", "eos_token", "STOP", "end_turn", "eos", "stop_sequence", "tool_calls", "?"]
)
def test_the_word_of_the_end_makes_no_difference(word):
    assert parse(ImageDescription, answer(DESCRIPTION, word)).objects[1].name == "bed"


@pytest.mark.hostile("annotation")
def test_what_cannot_be_written_is_taken_out_of_texts():
    text = '{"objects": [{"name": "lamp \\ud83d", "descriptors": ["a\\u0000b \\u001b[31m", "\\ud83d\\ude00"]}]}'
    (lamp,) = parse(ImageDescription, answer(text)).objects
    assert (lamp.name, lamp.descriptors) == ("lamp \ufffd", ["a\ufffdb \ufffd[31m", "\U0001f600"])


def test_blanks_are_tidied():
    found = parse(ImageDescription, answer('{"objects": [{"name": " floor\\n lamp ", "descriptors": [" brass "]}]}'))
    assert (found.objects[0].name, found.objects[0].descriptors) == ("floor lamp", ["brass"])


@pytest.mark.parametrize(
    ("text", "finish_reason", "reason"),
    [
        (DESCRIPTION, "length", "cut"),
        ("", "length", "cut"),
        (DESCRIPTION, "content_filter", "refused"),
        (" \n", "stop", "empty"),
        ("<think>hm</think>", "stop", "empty"),
        (DESCRIPTION, "MAX_TOKENS", "cut"),
        (DESCRIPTION, "model_length", "cut"),
        (DESCRIPTION, "abort", "cut"),
        (DESCRIPTION, "FINISH_REASON_SAFETY", "refused"),
        (DESCRIPTION, "refusal", "refused"),
        (DESCRIPTION[:-20], "stop", "invalid"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("I cannot assist.", "stop", "refused"),
        ("A lamp and a bed.", "stop", "invalid"),
        ("{" * 5000, "stop", "invalid"),
        ('{"a": ' * 3000, "stop", "invalid"),
    ],
)
def test_what_is_no_answer_has_a_reason(text, finish_reason, reason):
    assert refusal(ImageDescription, text, finish_reason).reason == reason


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "describe at least one object"),
        ([LAMP, {**LAMP, "name": "LAMP"}], "names 'LAMP' twice"),
        ([{"name": " ", "descriptors": ["x"]}], "objects.0.name: is blank"),
        ([{"name": "a", "descriptors": []}], "objects.0.descriptors: is an empty list"),
        ([{"name": "a", "descriptors": [" "]}], "objects.0.descriptors: is blank"),
        ([{"name": "a", "descriptors": [3]}], "objects.0.descriptors.0"),
        ([{"name": "a"}], "objects.0.descriptors: Field required"),
        ([{"name": "{lamp}", "descriptors": ["x"]}] * 2, "names '{lamp}' twice"),
    ],
)
def test_a_description_of_the_wrong_form_tells_the_model_what_to_do(objects, words):
    error = refusal(ImageDescription, json.dumps({"objects": objects}))
    assert error.reason == "invalid"
    assert words in str(error)
    assert 'the form {"objects"' in str(error)


def test_objects_are_bounded():
    assert len(parse(ImageDescription, answer(DESCRIPTION), max_objects=2).objects) == 2
    assert "the 1 most prominent" in str(refusal(ImageDescription, DESCRIPTION, max_objects=1))


def test_sentences_with_full_stops_inside_are_one_sentence():
    assert parse(Modifications, answer(modifications(*SENTENCES))).sentences == SENTENCES


@pytest.mark.parametrize(
    ("sentences", "words"),
    [
        ([], "holds 0 sentences; write 1 to 8"),
        ([f"Add lamp number {number}." for number in range(9)], "holds 9 sentences"),
        ([*SENTENCES, "Add a vase. It should be blue."], "sentence 4 holds 2 sentences"),
        ([*SENTENCES, "add a lamp"], "sentence 4 repeats"),
        ([*SENTENCES, "--"], "sentence 4 holds no word"),
        ([*SENTENCES, " "], "sentence 4 is blank"),
        ([*SENTENCES, "Add the lamp of image 2."], "sentence 4 says 'image 2'"),
        ([*SENTENCES, "Use the rug in the first image."], "'first image'"),
        ([*SENTENCES, "Match the reference photo."], "'reference photo'"),
        ([*SENTENCES, "Add the vase from the second picture."], "'from the second picture'"),
        ([*SENTENCES, "Remove the rug from the image."], "'the image'"),
    ],
)
def test_poor_sentences_are_named(sentences, words):
    error = refusal(Modifications, modifications(*sentences))
    assert error.reason == "invalid"
    assert words in str(error)


@pytest.mark.parametrize("sentence", ["Add a second picture above the bed.", "Hang two pictures.", "Move the photo."])
def test_pictures_that_hang_in_the_room_may_be_spoken_of(sentence):
    assert parse(Modifications, answer(modifications(*SENTENCES, sentence))).sentences[-1] == sentence


def test_as_many_sentences_are_wanted_as_there_are_differences():
    def described(**objects):
        return ImageDescription(objects=[{"name": n, "descriptors": d} for n, d in objects.items()])

    one = described(lamp=["brass", "tall"], bed=["white"], rug=["red"], chair=["oak"])
    assert fewest_sentences(one, described(Lamp=["Tall", "brass"], bed=["white"], rug=["red"], chair=["oak"])) == 0
    assert fewest_sentences(one, described(lamp=["brass", "tall"], bed=["blue"], rug=["red"], chair=["oak"])) == 1
    assert fewest_sentences(one, described(lamp=["brass", "tall"], bed=["white"], rug=["red"], sofa=["oak"])) == 2
    assert fewest_sentences(one, described(wall=["blue"])) == 3
    assert parse(Modifications, answer(modifications("Add a lamp."))).sentences == ["Add a lamp."]
    error = refusal(Modifications, modifications(*SENTENCES[:2]), min_sentences=3)
    assert "holds 2 sentences; write 3 to 8, one for each difference" in str(error)


@pytest.mark.parametrize("form", [ImageDescription, Modifications])
def test_the_response_format_is_a_strict_schema(form):
    wanted = response_format(form)
    assert wanted["type"] == "json_schema"
    assert wanted["json_schema"]["strict"] is True

    def check(schema):
        if isinstance(schema, dict):
            assert not {"title", "minItems", "default"} & schema.keys()
            if schema.get("type") == "object":
                assert schema["additionalProperties"] is False
                assert schema["required"] == list(schema["properties"])
            schema = list(schema.values())
        for item in schema if isinstance(schema, list) else []:
            check(item)

    check(wanted["json_schema"]["schema"])


def test_the_response_format_is_what_it_was():
    assert response_format(Modifications)["json_schema"] == {
        "name": "modifications",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"sentences": {"type": "array", "items": {"type": "string"}}},
            "required": ["sentences"],
            "additionalProperties": False,
        },
    }
