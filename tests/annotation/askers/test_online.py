"""Askers: what they send, what they leave out, and what the ledger holds after it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image

import patience
from diptych.annotation.askers.local import LocalAsker, _with_pictures
from diptych.annotation.askers.online import OnlineAsker
from diptych.annotation.ledger.ledger import Ledger
from diptych.contracts.pipelines import Answer, Failure, Question
from diptych.models.server import server_client
from diptych.models.server.vlm_client import VLMClient
from diptych.photos.image_urls import data_url

FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
TEMPLATE = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)


def question(key: str, content: Any = "what?", **settings: Any) -> Question:
    messages = content if callable(content) else lambda: [{"role": "user", "content": content}]
    return Question(key, "describe", f"record of {key}", messages, 20, 10, **settings)


def unreadable() -> Any:
    raise ValueError("image a.png is empty")


class Server(ThreadingHTTPServer):
    """`reply` makes (status, body) of a request's body."""

    daemon_threads = True

    def __init__(self, reply: Callable[[dict[str, Any]], tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply, self.requests = reply, []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        status, answer = self.server.reply(body)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def ok(body: dict[str, Any]) -> tuple[int, Any]:
    message = {"role": "assistant", "content": f"re: {body['messages'][0]['content']}"}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return 200, {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def refuse(status: int, message: str = "no") -> tuple[int, Any]:
    return status, {"error": {"message": message}}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(server_client, "_FIRST_WAIT_S", 0.01)
    servers = []

    def start(reply: Callable[[dict[str, Any]], tuple[int, Any]] = ok) -> Server:
        servers.append(Server(reply))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.plan([question(key) for key in "abcdefgh"], "m")
        yield opened


def online(server: Server, **settings: Any) -> OnlineAsker:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return OnlineAsker(
        VLMClient("m", url, **{"concurrency": 2, "timeout_s": patience.SECONDS, "max_retries": 0, **settings})
    )


def test_answers_are_in_the_ledger_before_they_are_given(serve, ledger):
    server = serve()
    asker = online(server)
    assert (asker.model, asker.price_factor) == ("m", 1.0)
    for key, answer in asker.ask([question(key, f"what is {key}?") for key in "abc"], ledger):
        assert answer.text == f"re: what is {key}?" and ledger.settled(key) == {key: answer}
    assert ledger.counts() == {"describe": {"done": 3, "pending": 5}}
    assert ledger.usage("describe") == {"requests": 3, "input_tokens": 21, "output_tokens": 6, "lost": 0}


def test_what_cannot_be_claimed_is_left_out(serve, ledger):
    server = serve()
    ledger.claim("a")
    ledger.answered("a", Answer("known", "stop", {}, 0.1))
    with Ledger(ledger.path) as other:
        other.claim("b")
        assert [key for key, _ in online(server).ask([question(key) for key in "abc"], ledger)] == ["c"]
    assert len(server.requests) == 1


def test_questions_are_claimed_only_when_their_turn_comes(serve, ledger):
    server = serve()
    answers = online(server, concurrency=2).ask((question(key) for key in "abcdefgh"), ledger)
    next(answers)
    assert ledger.counts()["describe"]["pending"] > 0
    answers.close()
    assert "sent" not in ledger.counts()["describe"] and ledger.usage("describe")["lost"] <= 2


def test_failures_name_the_record(serve, ledger):
    server = serve(lambda body: refuse(500, "down"))
    found = dict(online(server).ask([question("a"), question("b", unreadable)], ledger))
    assert found["a"].record_id == "record of a" and found["a"].reason == "server_error"
    assert found["b"] == Failure("record of b", "unreadable", "image a.png is empty")
    assert ledger.settled("ab") == found


def test_what_concerns_all_stops_and_keeps_what_was_answered(serve, ledger):
    server = serve(lambda body: refuse(401) if body["messages"][0]["content"] == "bad" else ok(body))
    asked = [question("a"), question("b", "bad"), question("c"), question("d")]
    given = []
    with pytest.raises(ValueError, match="refuses the key"):
        given.extend(key for key, _ in online(server).ask(asked, ledger))
        raise AssertionError
    states = ledger.counts()["describe"]
    assert states["done"] == len(server.requests) - 1 and "sent" not in states
    assert ledger.usage("describe")["lost"] == 0


def without_format(body: dict[str, Any]) -> tuple[int, Any]:
    return refuse(400, "response_format is not supported") if "response_format" in body else ok(body)


def test_a_server_that_knows_no_schema_is_asked_without(serve, ledger, caplog):
    server = serve(without_format)
    asker = online(server, concurrency=1)
    found = list(asker.ask([question(key, response_format=FORMAT) for key in "abc"], ledger))
    assert all(isinstance(answer, Answer) for _, answer in found) and len(found) == 3
    assert ["response_format" in body for body in server.requests] == [True, False, False, False]
    list(asker.ask([question("d", response_format=FORMAT)], ledger))
    assert "response_format" not in server.requests[-1]
    assert caplog.text.count("takes no response_format") == 1 and "asked otherwise" in caplog.text


def test_a_bad_request_for_another_reason_does_not_switch_the_schema_off(serve, ledger):
    server = serve(lambda body: refuse(400) if body["messages"][0]["content"] == "bad" else ok(body))
    asked = [
        question(key, content, response_format=FORMAT) for key, content in (("a", "bad"), ("b", "?"), ("c", "bad"))
    ]
    found = dict(online(server, concurrency=1).ask(asked, ledger))
    assert [found[key].reason for key in "ac"] == ["bad_request", "bad_request"] and found["b"].text == "re: ?"
    assert ["response_format" in body for body in server.requests] == [True, False, True, True]


def newer(body: dict[str, Any]) -> tuple[int, Any]:
    """As OpenAI's newer models: one refusal after the other."""
    for name, code in (("max_tokens", "unsupported_parameter"), ("temperature", "unsupported_value")):
        if name in body:
            message = f"Unsupported: '{name}' is not supported with this model."
            return 400, {"error": {"message": message, "param": name, "code": code, "type": "invalid_request_error"}}
    return ok(body)


def test_parameters_that_a_model_refuses_are_learnt_once(serve, ledger, caplog):
    server = serve(newer)
    asker = online(server, concurrency=1, temperature=0.0)
    found = list(asker.ask([question(key, response_format=FORMAT) for key in "abc"], ledger))
    assert [(key, type(answer)) for key, answer in found] == [(key, Answer) for key in "abc"]
    assert len(server.requests) == 5 and "asked otherwise" in caplog.text
    for body in server.requests[2:]:
        assert body.keys() == {"model", "messages", "max_completion_tokens", "response_format"}
        assert body["max_completion_tokens"] == 20
    other = online(server, concurrency=1, temperature=0.0)  # the next stage of a pipeline
    assert isinstance(dict(other.ask([question("d")], ledger))["d"], Answer) and len(server.requests) == 6


def test_what_is_refused_however_it_is_put_ends(serve, ledger):
    def never(body: dict[str, Any]) -> tuple[int, Any]:
        return refuse(422, f"unsupported parameters: {', '.join(sorted(body))}")

    server = serve(never)
    ((_, failure),) = online(server, temperature=0.0).ask([question("a", response_format=FORMAT)], ledger)
    assert failure.reason == "bad_request" and len(server.requests) == 4
    server.reply = ok  # and nothing was learnt
    assert isinstance(dict(online(server, temperature=0.0).ask([question("b")], ledger))["b"], Answer)
    assert {"max_tokens", "temperature"} < server.requests[-1].keys()


ODD = {
    "nested": b'{"choices":' + b"[" * 100_000,
    "a lone surrogate": json.dumps({"choices": [{"message": {"content": "\ud83d"}, "finish_reason": "stop"}]}).encode(),
    "a raw control": json.dumps({"choices": [{"message": {"content": "a\0b"}}]}).encode(),
    "counts of 10^30": b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":1' + b"0" * 30 + b"}}",
    "counts below 0": b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":-9,"completion_tokens":-9}}',
    "NaN": b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":NaN}}',
    "a part without a text": b'{"choices":[{"message":{"content":[{"type":"text","text":null}]}}]}',
    "brackets": json.dumps({"choices": [{"message": {"content": "{" * 10**5}}]}).encode(),
    "digits": b'{"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":' + b"1" * 5000 + b"}}",
    "nothing": b"",
    "Latin-1": b"\xe9",
}


@pytest.mark.hostile("annotation")
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_one_odd_answer_among_twelve_stops_no_other_and_is_paid_once(serve, ledger, odd):
    asked = [question(key, key) for key in "abcdefghijkl"]
    ledger.plan(asked, "m")
    server = serve(lambda body: (200, odd) if body["messages"][0]["content"] == "f" else ok(body))
    found = dict(online(server, max_retries=0).ask(asked, ledger))
    assert len(found) == 12
    assert all(found[one.key].text == f"re: {one.key}" for one in asked if one.key != "f")
    assert isinstance(found["f"], Answer | Failure)
    assert ledger.settled("f") == {"f": found["f"]}
    assert not list(online(server).ask(asked, ledger)) and len(server.requests) == 12  # settled: nobody is paid again
    ((spent),) = ledger.spent()
    assert 11 * 7 <= spent.num_input_tokens <= 11 * 7 + 10 and 22 <= spent.num_output_tokens < 10**6


def test_structured_on_and_off(serve, ledger):
    server = serve(without_format)
    ((_, failure),) = online(server, structured="on").ask([question("a", response_format=FORMAT)], ledger)
    assert failure.reason == "bad_request" and len(server.requests) == 1
    ((_, answer),) = online(server, structured="off").ask([question("b", response_format=FORMAT)], ledger)
    assert isinstance(answer, Answer) and len(server.requests) == 2
    with pytest.raises(ValueError, match="structured='maybe' is not one of auto, on, off"):
        online(server, structured="maybe")


# ---------------------------------------------------------------------------------------------------- in process


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory, tiny_chat_model: Path) -> Path:
    """A vision-language model of one narrow layer, random weights."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_chat_model)
    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|start|>", *special]})
    start, end, image, video = tokenizer.convert_tokens_to_ids(special)
    narrow = {"hidden_size": 32, "intermediate_size": 64}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    torch.manual_seed(0)
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            **narrow,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": rope,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**narrow, "fullatt_block_indexes": [0], "depth": 1, "num_heads": 2, "out_hidden_size": 32},
        image_token_id=image,
        video_token_id=video,
        vision_start_token_id=start,
        vision_end_token_id=end,
    )
    path = tmp_path_factory.mktemp("vlm")
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(path)
    patches = {"size": {"shortest_edge": 64 * 64, "longest_edge": 128 * 128}}
    transformers.Qwen2_5_VLProcessor(
        transformers.Qwen2VLImageProcessor(**patches),
        tokenizer,
        transformers.Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE,
    ).save_pretrained(path)
    return path


def test_a_model_in_this_process(model_folder, ledger, tmp_path):
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    picture = {"type": "image_url", "image_url": {"url": data_url(tmp_path / "a.png")}}
    asker = LocalAsker(str(model_folder), "float32", "cpu")
    asked = [
        question("a", [{"type": "text", "text": "what?"}, picture]),
        question("b", "text alone"),
        question("c", unreadable),
        question("d", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]),
    ]
    ledger.claim("e")
    ledger.answered("e", Answer("known", "stop", {}, 0.1))
    found = dict(asker.ask([*asked, question("e")], ledger))
    assert list(found) == ["a", "b", "c", "d"] and ledger.settled("abcd") == found
    assert found["a"].usage["completion_tokens"] <= 20 and found["a"].finish_reason in ("stop", "length")
    assert found["a"].usage["prompt_tokens"] > found["b"].usage["prompt_tokens"] > 0
    assert [found[key].reason for key in "cd"] == ["unreadable", "unreadable"]
    ledger.plan([question("z", "text alone")], "m", asker.price_factor)
    ((_, again),) = LocalAsker(str(model_folder), "float32", "cpu").ask([question("z", "text alone")], ledger)
    assert again.text == found["b"].text


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/a", "http://[::1]:1/a", "http://169.254.169.254/a", "ftp://127.0.0.1/a"]
)
def test_pictures_of_a_model_in_this_process_are_fetched_from_public_places(url, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
    with pytest.raises(ValueError, match="address of this machine|unknown url type"):
        _with_pictures(message, ())


def test_a_model_that_is_not_there(ledger, tmp_path):
    with pytest.raises(ValueError, match=r"model=.*missing cannot be loaded"):
        list(LocalAsker(str(tmp_path / "missing")).ask([question("a")], ledger))
    assert ledger.counts() == {"describe": {"pending": 8}}
    with pytest.raises(ValueError, match="dtype='float8' is not one of"):
        LocalAsker("m", "float8")
