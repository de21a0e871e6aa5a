"""Against servers on the loopback that write their answers byte by byte."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import traceback
import tracemalloc
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import patience
from diptych.models.server.chat_server import ChatServer, _Names, _proxy
from diptych.models.server.completion import read_completion
from diptych.models.server.server_failures import ServerFailure
from diptych.models.server.server_settings import read_key, server_url

KEY = "sk-the-secret-of-this-test"
BODY = {"model": "m", "messages": [{"role": "user", "content": "What is there? Ein Türmchen 塔"}], "max_tokens": 5}
ANSWER = {"choices": [{"finish_reason": "stop", "message": {"content": "a tower"}}], "usage": {"prompt_tokens": 7}}


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers, "", ""]).encode() + body


OK = http(json.dumps(ANSWER).encode())


class Server:
    """Answers the n-th request with the n-th of `answers`, the last for all that follow; bytes that are no whole answer
    are followed by the end of the connection, as all are with `closes`.
    """

    def __init__(self, *answers: bytes, closes: bool = False) -> None:
        self.answers, self.closes = list(answers), closes
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.num_connections = 0

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                self.bodies.append(json.loads(await reader.readexactly(int(fields["content-length"]))))
                self.heads.append(head)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                for start in range(0, len(answer), 2**20):
                    writer.write(answer[start : start + 2**20])
                    await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def play(scene: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(scene(), patience.SECONDS))


def asked(
    server: Server, key: str | None = KEY, times: int = 1, timeout_s: float = patience.SECONDS, pause_s: float = 0.0
) -> Any:
    async def scene() -> Any:
        async with server:
            chat = ChatServer(server.url, key, timeout_s)
            try:
                for _ in range(times):
                    answer = await chat.complete(BODY)
                    await asyncio.sleep(pause_s)
            finally:
                await chat.close()
        return answer

    return play(scene)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_sent_and_read():
    server = Server(OK)
    assert asked(server, times=3) == ("a tower", "stop", {"prompt_tokens": 7}, ())
    assert server.bodies == [BODY] * 3 and server.num_connections == 1
    head = server.heads[0].lower()
    assert head.startswith("post /v1/chat/completions http/1.1\r\n")
    assert f"\r\nauthorization: bearer {KEY}\r\n" in head and "\r\ncontent-type: application/json\r\n" in head
    assert "openai-" not in head


def test_a_server_that_wants_no_key():
    server = Server(OK)
    asked(server, key=None)
    assert "authorization" not in server.heads[0].lower()


def test_openai_environment(monkeypatch):
    server = Server(OK)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-a")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-b")

    async def scene() -> None:
        async with server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
            chat = ChatServer(None, KEY, 5.0)
            await chat.complete(BODY)
            await chat.close()

    play(scene)
    head = server.heads[0].lower()
    assert "\r\nopenai-organization: org-a\r\n" in head and "\r\nopenai-project: proj-b\r\n" in head


def test_compressed_and_in_pieces():
    packed = gzip.compress(json.dumps(ANSWER).encode())
    assert asked(Server(http(packed, "Content-Encoding: gzip")))[0] == "a tower"
    body = json.dumps(ANSWER).encode()
    pieces = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:])
    assert asked(Server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + pieces))[0] == "a tower"


def test_a_large_question():
    server = Server(OK)

    async def scene() -> Any:
        async with server:
            chat = ChatServer(server.url, KEY, 5.0)
            picture = "x" * 3_000_000
            answer = await chat.complete({**BODY, "picture": picture})
            await chat.close()
            return answer

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        assert play(scene)[0] == "a tower"
    assert not [one for one in caught if "raw bytes" in str(one.message)]
    assert len(server.bodies[0]["picture"]) == 3_000_000


def refused(content: Any, status: str = "400 Bad", *headers: str) -> Server:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Server(http(body, *headers, status=status))


@pytest.mark.parametrize(
    ("server", "reason", "message"),
    [
        (refused({"error": {"message": "too long", "code": "x"}}), "bad_request", r"\(400\): too long$"),
        (refused({"object": "error", "message": "too long", "code": 400}), "bad_request", r"\(400\): too long$"),
        (refused({"error": "no model"}), "bad_request", r"\(400\): no model$"),
        (refused({"detail": "not this"}), "bad_request", r"""\(400\): {"detail": "not this"}$"""),
        (refused(["odd"]), "bad_request", r"\(400\): \['odd'\]$"),
        (refused(b"<html>\n busy\xff"), "bad_request", r"\(400\): <html> busy"),
        (refused(b""), "bad_request", r"\(400\): nothing$"),
        (refused({"error": {"code": "content_filter"}}), "refused_by_server", "refuses this request"),
        (refused({"error": {"code": "insufficient_quota"}}, "429 Later"), "refused_by_server", "quota is used up"),
        (refused(b"", "429 Later", "Retry-After: 7"), "rate_limited", "it asks to wait 7 s"),
        (refused(b"", "503 Busy", "Retry-After: 7"), "server_error", "the server failed: 503: nothing"),
        (refused(b"", "304 Same"), "server_error", "the server failed: 304: nothing"),
        (refused(b"", "405 Not so"), "server_error", "the server failed: 405: nothing"),
        (refused(b"", "413 Large"), "bad_request", r"\(413\)"),
        (Server(http(b"[]")), "server_error", r"its answer is no chat completion: \[\]"),
        (Server(http(b'{"choices": [{}]}')), "server_error", "its answer is no chat completion"),
        (Server(http(b"\xff\xfe")), "server_error", "its answer is no chat completion"),
        (Server(http(b'{"cho', length=500), closes=True), "connection", "it broke"),
        (Server(b"", closes=True), "connection", "it broke"),
        (Server(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "connection", "it broke"),
    ],
)
def test_answers_that_are_none(server, reason, message):
    with pytest.raises(ServerFailure, match=message) as caught:
        asked(server)
    assert caught.value.reason == reason
    assert caught.value.wait_s == (7.0 if b"Retry-After" in server.answers[0] else 0.0)


@pytest.mark.parametrize(
    "server",
    [
        refused({"error": {"message": f"you sent {KEY}"}}),
        refused(f"you sent {KEY}".encode(), "500 Broken"),
        Server(http(f"you sent {KEY}".encode())),
        Server(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    ],
)
def test_no_failure_holds_the_key(server):
    with pytest.raises(ServerFailure) as caught:
        asked(server)
    failure = caught.value
    assert "***" in str(failure)
    assert failure.__cause__ is None and failure.__context__ is None
    assert KEY not in "".join(traceback.format_exception(failure)) + repr(failure.__dict__)


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "proxy", ["http://u:hunter2@127.0.0.1:1", "http://u:hunter2@[", "http://u:hunter2@127.0.0.1:port"]
)
def test_no_failure_holds_the_password_of_a_proxy(proxy, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    async def scene(url: str) -> None:
        chat = ChatServer(url, KEY, patience.SECONDS)
        try:
            await chat.complete(BODY)
        finally:
            await chat.close()

    with pytest.raises(ServerFailure) as caught:
        play(lambda: scene("https://model.example/v1"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "url",
    [
        "http://[",
        "ftp://host/v1",
        "host:1/v1",
        "file:///a",
        "http:///v1",
        "http://a b/v1",
        "http://a:x/v1",
        "http://a\n",
    ],
)
def test_addresses_of_no_server(url, monkeypatch):
    with pytest.raises(ValueError, match="^base_url=.*is no address of a server"):
        server_url(url)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(ValueError, match="^OPENAI_BASE_URL=.*is no address of a server"):
        server_url(None)


@pytest.mark.hostile("network")
@pytest.mark.parametrize("key", ["sk a", "sk\r\nX: y", "ské", "sk\0"[:2] + "\x7f"])
def test_what_can_be_no_key(key, monkeypatch):
    monkeypatch.setenv("SOME_KEY", key)
    with pytest.raises(ValueError, match="SOME_KEY holds no key") as caught:
        read_key("SOME_KEY")
    assert key not in str(caught.value)


def test_time_limit_includes_reading():
    with pytest.raises(ServerFailure, match="raise timeout_s") as caught:
        asked(Server(http(b'{"cho', length=500)), timeout_s=0.2)
    assert caught.value.reason == "timeout"


@pytest.mark.hostile("network")
def test_a_name_that_is_looked_up_without_end(monkeypatch):
    """Neither the request waits for it, nor what else the loop's threads have to do, nor the end of the loop."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(patience.SECONDS))

    async def scene() -> None:
        chat = ChatServer("http://model.example/v1", KEY, 0.1)
        try:
            with pytest.raises(ServerFailure, match="raise timeout_s"):
                await chat.complete(BODY)
        finally:
            await chat.close()

    started = time.monotonic()
    play(scene)
    assert time.monotonic() - started < patience.SECONDS / 2
    over.set()


def test_a_name_and_its_addresses(monkeypatch):
    server = Server(OK)
    found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 80, 0, 3)), (socket.AF_INET, 1, 6, "", ("", 0))]

    async def scene() -> Any:
        async with server:
            port = int(server.url.split(":")[2].removesuffix("/v1"))
            found[1] = (*found[1][:4], ("127.0.0.1", port))
            with monkeypatch.context() as patched:
                patched.setattr(socket, "getaddrinfo", lambda *_, **__: found)
                addresses = await _Names().resolve("model.example", port)
                assert [address["host"] for address in addresses] == ["fe80::1%3", "127.0.0.1"]
                del found[0]
                chat = ChatServer(f"http://model.example:{port}/v1", KEY, patience.SECONDS)
                answer = await chat.complete(BODY)
                await chat.close()
            return answer

    assert play(scene)[0] == "a tower" and "host: model.example:" in server.heads[0].lower()


def test_a_kept_connection_that_the_server_closes():
    server = Server(OK, closes=True)
    assert asked(server, times=3, pause_s=0.02)[0] == "a tower"
    assert server.num_connections == 3


@pytest.mark.hostile("network")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # another port, another host
def test_no_redirection_leads_elsewhere(monkeypatch, status, host):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-a")

    async def scene() -> tuple[Server, str]:
        async with Server(OK) as other:
            there = f"{other.url.replace('127.0.0.1', host)}/chat/completions?k=%73%6b{KEY[2:]}"
            async with Server(http(b"", f"Location: {there}", status=f"{status} Moved")) as server:
                chat = ChatServer(server.url, KEY, 5.0)
                try:
                    with pytest.raises(ServerFailure, match=f"it is at http://{host}:.*set base_url to it") as caught:
                        await chat.complete(BODY)
                finally:
                    await chat.close()
        return other, str(caught.value)

    other, message = play(scene)
    assert not other.heads and "k=***" in message and KEY[2:] not in message


def test_a_redirection_on_the_same_server_is_followed():
    moved = http(b"", "Location: /v2/chat", status="307 Moved")
    server = Server(moved, OK)
    assert asked(server)[0] == "a tower" and server.bodies == [BODY, BODY]
    assert server.heads[1].startswith("POST /v2/chat ")
    with pytest.raises(ServerFailure, match="it is at /v2/chat"):  # again and again
        asked(Server(moved))


@pytest.mark.hostile("network")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_large_answers_are_not_held(packed, status):
    """All of it would once be, twice; what is unpacked ahead is little."""
    large = b"{" + b" " * (200 * 2**20)
    body = gzip.compress(large, 1) if packed else large
    server = Server(http(body, *(["Content-Encoding: gzip"] if packed else []), status=status))
    del body, large
    tracemalloc.start()
    try:
        with pytest.raises(ServerFailure, match="it has more than 16 MiB" if status == "200 OK" else r"\(400\): {"):
            asked(server)
        assert tracemalloc.get_traced_memory()[1] < 80 * 2**20
    finally:
        tracemalloc.stop()


def test_proxies_come_from_the_environment(monkeypatch):
    url = "https://api.example.com:8443/v1/chat/completions"
    assert _proxy(url) is None
    monkeypatch.setenv("ALL_PROXY", "proxy:1")
    assert _proxy(url) == "http://proxy:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:2")
    assert _proxy(url) == "http://proxy:2" and _proxy("http://a/v1") == "http://proxy:1"
    monkeypatch.setenv("NO_PROXY", "localhost,.example.com")
    assert _proxy(url) is None and _proxy("http://localhost:8000/v1") is None

    proxy = Server(OK)

    async def scene() -> Any:
        async with proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
            chat = ChatServer("http://model.invalid/v1", KEY, 5.0)
            answer = await chat.complete(BODY)
            await chat.close()
            return answer

    assert play(scene)[0] == "a tower"
    assert proxy.heads[0].startswith("POST http://model.invalid/v1/chat/completions ")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": None, "refusal": "I will not."}, ("I will not.", "refusal")),
        ({"content": "yes", "refusal": ""}, ("yes", "stop")),
        ({"content": [{"type": "text", "text": "a "}, {"type": "text", "text": "tower"}]}, ("a tower", "stop")),
        ({}, ("", "stop")),
    ],
)
def test_messages(message, expected):
    choice = {"message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "details": {"cached": 1}, "cost": None}
    assert read_completion({"choices": [choice], "usage": usage}) == (*expected, {"prompt_tokens": 7}, ())


def test_what_some_servers_leave_out():
    assert read_completion({"choices": [{"message": {"content": "yes"}}]}) == ("yes", "", {}, ())
    for body in (None, [], {}, {"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{"text": "a"}]}):
        assert read_completion(body) is None


def place(token, logprob, *others):
    return {"token": token, "logprob": logprob, "top_logprobs": [{"token": t, "logprob": p} for t, p in others]}


def logprobs_of(*places):
    choice = {"message": {"content": "yes"}, "logprobs": {"content": list(places)}}
    return read_completion({"choices": [choice]}).logprobs


def test_logprobs_are_read_place_by_place_and_what_was_written_comes_first():
    first, second = place("no", -0.9, ("yes", -0.5), ("no", -0.9)), place("!", 0, ("!", 1e-7), ("?", -9))
    assert [list(one.items()) for one in logprobs_of(first, second)] == [
        [("no", -0.9), ("yes", -0.5)],
        [("!", 0.0), ("?", -9.0)],
    ]


@pytest.mark.parametrize("logprob", [None, "0", 0.5, float("nan"), float("-inf"), [0]])
def test_logprobs_that_are_none_are_left_out_with_all_others(logprob):
    assert logprobs_of(place("a", -1), place("b", logprob)) == ()
    assert logprobs_of(place("a", -1), place("b", -1, ("c", logprob))) == ()
    for given in (None, [], {"content": None}, {"content": [None]}, {"tokens": ["yes"]}):
        choice = {"message": {"content": "yes"}, "logprobs": given}
        assert read_completion({"choices": [choice]}).logprobs == ()
