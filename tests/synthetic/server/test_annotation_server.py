"""The server that annotation is tested against: what the real client is answered over real connections."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import openai
import pytest
import yaml
from asking import HOLDS, OBJECTS, SENTENCES, answer_of, ask, data_url, items_of

import patience
from diptych.annotation.answers import ImageDescription, Modifications, parse, response_format
from diptych.config.arguments import run
from diptych.contracts.pipelines import Answer
from diptych.synthetic.server.__main__ import serve as serve_until_stopped
from diptych.synthetic.server.completions import image_tokens
from diptych.synthetic.server.rooms_answers import Untruth, read_question
from diptych.synthetic.server.rooms_language import (
    describe_item,
    is_true,
    read_items,
)

pytestmark = pytest.mark.processes

PROMPTS = Path(__file__).resolve().parents[3] / "conf" / "annotation" / "prompt"


def test_three_stages_one_stage_and_verification(serve, folder, pairs, rooms):
    server, client = serve(scenes=folder)
    example = '{"objects": [{"name": "headboard", "descriptors": ["tufted dark green velvet"]}]}'
    for reference, target in pairs[:8]:
        before, after = items_of(rooms, reference), items_of(rooms, target)
        first = answer_of(ask(client, f"List all. Like this: {example}", data_url(reference), form=OBJECTS))
        assert read_items(first["objects"]) == before
        text = f"The other one: {json.dumps(first)}. Like this: {example}"
        second = answer_of(ask(client, text, data_url(target), form=OBJECTS))
        assert read_items(second["objects"]) == after
        same = [item for item in first["objects"] if item in second["objects"]]
        assert len(same) == sum(after.get(kind) == item for kind, item in before.items())  # word for word
        text = f"From {json.dumps(first['objects'])} to {json.dumps(second, indent=2)}: what changed?"
        sentences = answer_of(ask(client, text, form=SENTENCES))["sentences"]
        assert 3 <= len(sentences) <= 8 and all(is_true(sentence, before, after) for sentence in sentences)
        both = (data_url(reference), data_url(target))
        assert all(is_true(s, before, after) for s in answer_of(ask(client, "?", *both, form=SENTENCES))["sentences"])
        for sentence in (*sentences, "The room gains a green rug.", "Clear the walls away."):
            verdict = answer_of(ask(client, f"Is this so?\nSentence: {sentence}", *both, form=HOLDS))
            assert verdict == {"holds": is_true(sentence, before, after)}
    assert server.count()["answered"] == {
        "describe_reference": 8,
        "describe_target": 8,
        "write_modifications": 8,
        "one_stage": 8,
        "verify": server.count()["started"]["verify"],
    }


def test_the_house_reads_the_answers(serve, folder, pairs):
    _, client = serve(scenes=folder)
    for reference, target in pairs[:6]:
        for form, urls in ((ImageDescription, [reference]), (Modifications, [reference, target])):
            completion = ask(client, "?", *map(data_url, urls), form=response_format(form))
            parse(form, Answer(completion.choices[0].message.content, "stop", {}, 0.0))


def test_answers_do_not_depend_on_how_often_and_with_what_complaint_they_are_asked(serve, folder, pairs):
    _, client = serve(scenes=folder, untruth=Untruth(0.5, 0.5, 0.5))
    question = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(pairs[0][0])}}]}
    first = client.chat.completions.create(model="m", messages=[question], response_format=OBJECTS)
    text = first.choices[0].message.content
    again = [question, {"role": "assistant", "content": text}, {"role": "user", "content": "Not whole: answer again."}]
    assert client.chat.completions.create(model="m", messages=again).choices[0].message.content == text


@pytest.mark.parametrize("kind", ["describe_reference", "describe_target", "write_modifications", "one_stage"])
def test_the_prompts_of_the_house_are_told_apart(rooms, folder, pairs, kind):
    config = yaml.safe_load((PROMPTS / f"{kind}.yaml").read_text())
    rng = random.Random(0)
    objects = json.dumps({"objects": [describe_item(*item, rng) for item in rooms.items(0).items()]})
    values = {"domain": "hotel", "max_objects": 7, "reference": objects, "target": objects}
    text = config["text"]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    num_pictures = {"write_modifications": 0, "one_stage": 2}.get(kind, 1)
    content = [{"type": "text", "text": text}]
    content += [{"type": "image_url", "image_url": {"url": path.as_uri()}} for path in pairs[0][:num_pictures]]
    for form in (None, OBJECTS if kind.startswith("describe") else SENTENCES):
        asked = read_question({"messages": [{"role": "user", "content": content}], "response_format": form}, rooms)
        assert asked.kind == kind
        assert [len(objects) for objects in asked.lists] == [len(rooms.items(0))] * text.count(objects)
        assert asked.max_objects == (7 if kind.startswith("describe") else 12)


def test_as_many_objects_as_asked_for(serve, folder, pairs):
    _, client = serve(scenes=folder)
    url = data_url(pairs[0][0])
    for text in ("Describe up to 4 objects.", "List them, 4 at the most."):
        names = [item["name"] for item in answer_of(ask(client, text, url, form=OBJECTS))["objects"]]
        assert len(names) == 4


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_untruth_has_the_chosen_rate(serve, folder, pairs, rooms, share):
    _, client = serve(scenes=folder, untruth=Untruth(sentences=0.0, one_stage_sentences=share, objects=share))
    truths, described = [], []
    for reference, target in pairs:
        before, after = items_of(rooms, reference), items_of(rooms, target)
        answer = answer_of(ask(client, "?", reference.as_uri(), target.as_uri(), form=SENTENCES))
        truths += [is_true(sentence, before, after) for sentence in answer["sentences"]]
        answer = read_items(answer_of(ask(client, "?", reference.as_uri(), form=OBJECTS))["objects"])
        described += [answer.get(kind) == item for kind, item in before.items()]
    assert 1 - np.mean(truths) == pytest.approx(share, abs=0.1)
    assert 1 - np.mean(described) == pytest.approx(share, abs=0.06)


def test_shapes_that_no_question_has_are_refused(serve, folder, pairs):
    _, client = serve(scenes=folder)
    form = json.loads(json.dumps(HOLDS).replace("holds", "name"))
    with pytest.raises(openai.BadRequestError, match="objects, sentences, holds"):
        ask(client, "?", form=form)
    with pytest.raises(openai.BadRequestError, match="cannot tell"):
        ask(client, "What changed?", data_url(pairs[0][0]), form=SENTENCES)
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="m", messages=[])
    with pytest.raises(openai.BadRequestError, match="stream"):
        ask(client, "?", stream=True)
    assert ask(client, "How are you?").choices[0].message.content == "Your question has 3 words."


def test_tokens_are_counted(serve, folder, pairs):
    _, client = serve(scenes=folder)
    assert [image_tokens(*size) for size in ((128, 128), (1024, 1024), (4096, 2048))] == [255, 765, 1105]
    text, url = "x" * 400, data_url(pairs[0][0])
    usage = ask(client, text, url, form=OBJECTS).usage
    assert usage.prompt_tokens == 255 + 100 + 4 and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    image = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    low = client.chat.completions.create(model="m", messages=[{"role": "user", "content": [image]}])
    assert low.usage.prompt_tokens == 85 + 4
    cut = ask(client, text, url, form=OBJECTS, max_tokens=5)
    assert cut.choices[0].finish_reason == "length" and cut.usage.completion_tokens == 5


def test_a_server_without_structured_output(serve, folder, pairs):
    server, client = serve(scenes=folder, structured=False)
    url = data_url(pairs[0][0])
    for form in (OBJECTS, {"type": "json_object"}):
        with pytest.raises(openai.BadRequestError, match="response_format") as error:
            ask(client, "?", url, form=form)
        assert error.value.param == "response_format"
    assert "objects" in answer_of(ask(client, "?", url))
    both = [data_url(path) for path in pairs[0]]
    assert "sentences" in answer_of(ask(client, "?", *both))
    assert "holds" in answer_of(ask(client, 'The rug is gone. Answer {"holds": true} or {"holds": false}', *both))
    assert server.count()["total"] == {"started": 3, "answered": 3, "distinct": 3}


def test_the_key_is_checked_where_one_is_set(serve):
    server, _ = serve(api_key="secret")
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=server.base_url, api_key="guess", max_retries=0).models.list()
    models = openai.OpenAI(base_url=server.base_url, api_key="secret", max_retries=0).models
    assert [model.id for model in models.list()] == ["rooms-vlm"] and models.retrieve("x").id == "x"


def test_many_questions_are_answered_at_the_same_time(serve):
    server, _ = serve(latency_s=2)

    async def ask_all() -> None:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as client:
            messages = [{"role": "user", "content": "?"}]
            await asyncio.gather(*(client.chat.completions.create(model="m", messages=messages) for _ in range(64)))

    asyncio.run(ask_all())
    count = server.count()
    assert count["total"] == {"started": 64, "answered": 64, "distinct": 1}
    assert count["most_in_flight"] > 32 and count["in_flight"] == 0


def test_what_a_killed_client_asked_is_answered_and_counted(serve):
    server, client = serve(latency_s=0.6)
    with pytest.raises(openai.APITimeoutError):
        ask(client.with_options(timeout=0.1), "?")
    patience.wait_until(lambda: server.count()["total"]["answered"])
    assert server.count()["total"] == {"started": 1, "answered": 1, "distinct": 1}
    ask(client, "?")
    assert server.count()["total"] == {"started": 2, "answered": 2, "distinct": 1}


def test_command_serves_until_it_is_stopped(folder):
    command = [sys.executable, "-m", "diptych.synthetic.server", "port=0", f"scenes={folder}"]
    command += ["hallucination=0.1", "faults=server_error=0.5,cut=0.5", "latency_s=0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            client = openai.OpenAI(base_url=address, api_key="any", max_retries=9, timeout=patience.SECONDS)
            path = sorted((folder / "images").rglob("*.jpg"))[0]
            image = address.removesuffix("/v1") + "/" + path.relative_to(folder).as_posix()
            assert ask(client, "?", image, form=OBJECTS).choices[0].finish_reason == "length"
            with urllib.request.urlopen(image) as response:
                assert response.read() == path.read_bytes()
            with urllib.request.urlopen(address.removesuffix("/v1") + "/count") as response:
                assert json.load(response)["answered"] == {"describe_reference": 1}
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("scenes=nowhere", "rooms set"),
        ("faults=cut:1", "faults=cut:1: expected name=rate"),
        ("faults=cuts=1", "no such fault: cuts"),
        ("structured=no", "expected true or false"),
    ],
)
def test_command_refuses_what_makes_no_sense(setting, message, capsys):
    assert run(serve_until_stopped, "server", [setting]) == 2
    assert message in capsys.readouterr().err


def test_other_requests_are_refused_in_openai_s_form(serve):
    server, client = serve()
    with pytest.raises(openai.NotFoundError, match=r"POST /v1/embeddings"):
        client.embeddings.create(model="m", input="a")
    with pytest.raises(openai.BadRequestError, match="'purpose' and 'file'"):
        client.post("/files", cast_to=object, files={"file": ("a.jsonl", b"{}")})
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(server.base_url.removesuffix("/v1") + "/images/../rooms.json")
    assert client.models.list().data  # the connection lives
