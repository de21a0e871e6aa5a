"""Against a real server on the loopback: what it does with each request is a list of steps."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from itertools import chain
from typing import Any

import pytest
from PIL import Image

import patience
from diptych.contracts.pipelines import Answer, Failure
from diptych.models.captioners.caption import Caption
from diptych.models.captioners.server import ServerCaptioner
from diptych.models.server import server_client
from diptych.models.server.request_pace import RequestPace
from diptych.models.server.server_failures import ServerFailure, asked_wait
from diptych.models.server.vlm_client import Request, VLMClient
from diptych.photos.image_urls import data_url
from scripted_server import Handler, Server, running

pytestmark = pytest.mark.processes

KEY = "sk-the-secret-of-this-test"
QUESTION = [{"role": "user", "content": "What is there?"}]


def answer(text: str | None = "a tower", finish_reason: str = "stop") -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def reset(handler: Handler, body: Any) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()
    handler.close_connection = True


def hang(handler: Handler, body: Any) -> None:
    handler.server.released.wait(20)
    handler.close_connection = True


OK = (200, {}, answer())


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> tuple[int, dict, dict]:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, headers, {"error": {"message": message, "code": code, "type": "x", "param": None}}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(server_client, "_FIRST_WAIT_S", 0.01)
    with ExitStack() as stack:
        yield lambda *steps: stack.enter_context(running(Server(list(steps))))


def all_results(model: VLMClient, number: int) -> list[tuple[str, Answer | Failure]]:
    """The results of so many requests, as they come."""
    return list(chain.from_iterable(model.results_together(requests(number))))


def client(server: Server, **settings: Any) -> VLMClient:
    return VLMClient(
        "m", server.url, rng=random.Random(0), **{"timeout_s": patience.SECONDS, "max_retries": 2, **settings}
    )


def complete(model: VLMClient, **settings: Any) -> Answer:
    async def one() -> Answer:
        try:
            return await model.complete(QUESTION, **{"max_tokens": 5, **settings})
        finally:
            await model.close()

    return asyncio.run(one())


def requests(number: int) -> Iterator[Request]:
    return (Request(f"q{n}", lambda: QUESTION, 5) for n in range(number))


def test_one_answer(serve):
    server = serve((200, {}, answer("two\nlines", "length")))
    got = complete(client(server), response_format={"type": "json_object"})
    assert (got.text, got.finish_reason) == ("two\nlines", "length")
    assert got.usage == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert 0 < got.latency_s < 10
    expected = {"model": "m", "messages": QUESTION, "max_tokens": 5, "temperature": 0.0}
    assert server.requests == [{**expected, "response_format": {"type": "json_object"}}]
    assert server.keys == {f"Bearer {KEY}"}
    complete(client(server, temperature=None))
    assert "temperature" not in server.requests[1]


def test_a_refusal_is_no_answer(serve, tmp_path):
    refused = answer(None)
    refused["choices"][0]["message"]["refusal"] = "I cannot help with that."
    server = serve((200, {}, refused))
    got = complete(client(server))
    assert (got.text, got.finish_reason) == ("I cannot help with that.", "refusal")
    assert got.usage["completion_tokens"] == 2
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    ((name, caption),) = ServerCaptioner(client(server), "Say what is there.").describe_files(
        [("a", tmp_path / "a.png")]
    )
    assert isinstance(caption, Failure) and (name, caption.reason) == ("a", "refused")
    refused["choices"][0]["message"]["content"] = "a tower"
    assert complete(client(server)).finish_reason == "stop"


@pytest.mark.parametrize(
    "trouble",
    [
        error(500),
        error(503),
        error(429),
        reset,
        (200, {}, {**answer(), "choices": []}),
        (200, {}, b'{"id": '),
        (200, {"Content-Type": "text/html"}, b"<html>wait</html>"),
    ],
)
def test_troubles_that_pass(serve, trouble):
    server = serve(trouble, trouble, OK)
    assert complete(client(server)).text == "a tower"
    assert len(server.requests) == 3


def test_a_server_that_hangs(serve):
    server = serve(hang, OK)
    assert complete(client(server, timeout_s=0.3, max_retries=99)).text == "a tower"


@pytest.mark.parametrize(
    ("trouble", "reason", "message", "tries"),
    [
        (error(500, "broken"), "server_error", "the server failed: 500: .*broken", 3),
        (error(429, "slowly"), "rate_limited", "asked too much .429.; lower concurrency: .*slowly", 3),
        (error(429, "pay", "insufficient_quota"), "refused_by_server", "quota is used up", 1),
        (error(429, "later", Retry_After="9999"), "rate_limited", "it asks to wait 9999 s", 1),
        (error(400, "too long"), "bad_request", "cannot use this request .400.: .*too long", 1),
        (error(400, "no", "content_policy_violation"), "refused_by_server", "refuses this request .400.", 1),
        (error(422), "bad_request", "422", 1),
        (error(403), "refused_by_server", "refuses this request .403.", 1),
        (error(401, f"wrong key {KEY}"), "refused_by_server", "refuses the key .401.$", 1),
        (error(404, "no model m"), "refused_by_server", "the address or the model .404.: .*no model m", 1),
        (reset, "connection", "no connection to the server, or it broke .*; look at base_url", 3),
        ((200, {}, b"[1]"), "server_error", "the server failed: its answer", 3),
    ],
)
def test_troubles_that_stay(serve, trouble, reason, message, tries):
    server = serve(trouble)
    with pytest.raises(ServerFailure, match=message) as caught:
        complete(client(server))
    assert (caught.value.reason, len(server.requests)) == (reason, tries)


def test_timeouts_and_nobody_there(serve):
    server = serve(hang)
    with pytest.raises(ServerFailure, match="no answer in time; raise timeout_s") as caught:
        complete(client(server, timeout_s=0.2, max_retries=1))
    assert (caught.value.reason, len(server.requests)) == ("timeout", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ServerFailure, match="no connection") as caught:
        complete(VLMClient("m", url, max_retries=0))
    assert caught.value.reason == "connection"


def test_retry_after_is_honoured_by_all(serve):
    server = serve(error(429, Retry_After="0.4"), OK)
    got = dict(all_results(client(server, concurrency=1), 3))
    assert [got[f"q{n}"].text for n in range(3)] == ["a tower"] * 3
    assert server.times[1] - server.times[0] >= 0.4


def test_the_date_of_retry_after():
    assert 50 < asked_wait({"retry-after": formatdate(time.time() + 60, usegmt=True)}) <= 60
    assert [asked_wait({"retry-after": value}) for value in ("", "soon", "nan", "inf", "-3")] == [0.0] * 5
    assert asked_wait({}) == 0.0


def test_pace():
    async def play() -> None:
        pace = RequestPace(8)
        now = time.monotonic()
        pace.refused(now, 0.0)
        pace.refused(now, 0.0)  # was on its way before the halving
        assert pace.allowed == 4
        pace.refused(time.monotonic(), 0.0)
        assert pace.allowed == 2
        for _ in range(3):
            pace.answered()
        assert pace.allowed == 3
        for _ in range(60):
            pace.answered()
        assert pace.allowed == 8
        for _ in range(6):
            pace.refused(time.monotonic(), 0.0)
        assert pace.allowed == 1

    asyncio.run(play())


def test_many_requests(serve):
    def slow(handler: Handler, body: Any) -> tuple:
        time.sleep(0.02)
        text = body["messages"][0]["content"]
        return error(400, "odd") if text == "7" else (200, {}, answer(text))

    server = serve(slow)
    made: list[int] = []

    def many() -> Iterator[Request]:
        for n in range(40):
            made.append(n)
            yield Request(str(n), lambda n=n: [{"role": "user", "content": str(n)}], 5)

    got, ahead = {}, 0
    for name, result in chain.from_iterable(client(server, concurrency=4).results_together(many())):
        got[name] = result
        ahead = max(ahead, len(made) - len(got))
    failure = got.pop("7")
    assert isinstance(failure, Failure) and (failure.record_id, failure.reason) == ("7", "bad_request")
    assert {name: result.text for name, result in got.items()} == {str(n): str(n) for n in range(40) if n != 7}
    assert server.most_in_flight <= 4 and len(server.connections) <= 4  # connections are kept
    assert ahead <= 4


def test_fewer_in_flight_after_a_429(serve):
    in_flight = []

    def slow(handler: Handler, body: Any) -> tuple:
        in_flight.append(handler.server.in_flight)
        time.sleep(0.03)
        return OK

    def together(handler: Handler, body: Any) -> tuple:
        all_there.wait(patience.SECONDS)
        return error(429)

    all_there = threading.Barrier(8)
    server = serve(*[together] * 8, slow)
    assert len(all_results(client(server, concurrency=8), 8)) == 8
    assert server.most_in_flight == 8
    assert len(in_flight) == 8 and 2 <= max(in_flight) <= 5  # four at first, and slowly more


def test_what_all_requests_have_in_common_ends_the_run(serve):
    server = serve(error(401))
    with pytest.raises(ServerFailure, match="refuses the key"):
        all_results(client(server, concurrency=2), 50)
    assert len(server.requests) <= 4


def test_a_run_that_is_left_early(serve):
    server = serve(OK)
    model = client(server, concurrency=2)
    results = model.results_together(requests(1000))
    next(results)
    results.close()
    assert len(server.requests) <= 6
    assert len(all_results(model, 3)) == 3  # a new loop, new connections


def test_a_run_that_is_interrupted(serve):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model = client(serve(hang), concurrency=2)
    earlier = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        with pytest.raises(KeyboardInterrupt):
            all_results(model, 5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    assert model._connection is None


def test_the_key_is_nowhere(serve, caplog, monkeypatch):
    import traceback

    caplog.set_level(logging.DEBUG)
    server = serve(error(500, f"you sent {KEY}"), error(400, f"you sent {KEY}"))
    model = client(server)
    with pytest.raises(ServerFailure) as caught:
        complete(model)
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert "you sent ***" in text
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    for place in (text, caplog.text, repr(model), repr(model.__dict__), repr(model.__getstate__())):
        assert KEY not in place
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ValueError, match="OPENAI_API_KEY is not set"):
        complete(model)
    assert complete(client(serve(OK), api_key_env=None)).text == "a tower"


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"timeout_s": 0}, {"max_retries": -1}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match="^concurrency="):
        VLMClient("m", **settings)


def test_captions_of_a_server(serve, tmp_path):
    server = serve((200, {}, answer(" a  tower\n")))
    Image.new("RGB", (64, 32), "red").save(tmp_path / "a.jpg")
    captioner = ServerCaptioner(client(server), "Say what is there.", max_side=16, max_tokens=9)
    got = dict(captioner.describe_files([("a", tmp_path / "a.jpg"), ("b", tmp_path / "b.jpg")]))
    assert got["a"] == Caption("a tower", "stop")
    assert (got["b"].reason, got["b"].record_id) == ("unreadable", "b")
    (request,) = server.requests
    picture, text = request["messages"][0]["content"]
    assert text == {"type": "text", "text": "Say what is there."} and request["max_tokens"] == 9
    assert picture["image_url"]["url"] == data_url(tmp_path / "a.jpg", 16)
    with pytest.raises(ValueError, match="instruction=.* is blank"):
        ServerCaptioner(captioner.client, "")
