"""Remote images, from a server on the loopback that also has what is none."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

import patience
from diptych.annotation import fetching, guarded_web
from diptych.annotation.fetching import FetchFailure, ImageFetcher
from diptych.annotation.guarded_web import is_public


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path[1:]
        self.server.times[name] += 1
        status = {"gone": 404, "closed": 403, "broken": 500, "busy": 503 if self.server.times[name] < 3 else 200}
        data = {"page": b"<html>sign in</html>", "half": picture()[:40], "large": b"x" * 5000}.get(name, picture())
        self.send_response(status.get(name, 200))
        self.send_header("Content-Length", str(len(data) + 10 * (name == "torn")))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "_WAITS_S", (0.01, 0.01))
    monkeypatch.setattr(fetching, "_MOST_BYTES", 4000)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.times = Counter()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_each_url_is_fetched_once(server, tmp_path):
    fetcher = ImageFetcher(tmp_path / "fetched", private=True)
    urls = [f"{server.url}{name}" for name in ("a", "b", "with a blank", "busy")]
    found = list(fetcher.fetch_all(urls))
    assert [url for url, _ in found] == urls
    assert all(path.read_bytes() == picture() for _, path in found)
    assert server.times == {"a": 1, "b": 1, "with%20a%20blank": 1, "busy": 3}
    assert list(ImageFetcher(tmp_path / "fetched", private=True).fetch_all(urls)) == found and server.times["a"] == 1
    assert len(list((tmp_path / "fetched").iterdir())) == 4


@pytest.mark.parametrize(
    ("name", "reason", "times", "says"),
    [
        ("gone", "not_found", 1, "404"),
        ("closed", "refused_by_server", 1, "403"),
        ("broken", "unreachable", 3, "500"),
        ("torn", "unreachable", 3, "broke off after"),
        ("page", "no_image", 1, "not a readable image"),
        ("half", "no_image", 1, "readable image"),
        ("large", "too_large", 1, "more than"),
    ],
)
def test_what_is_no_image_leaves_no_file(server, tmp_path, name, reason, times, says):
    with pytest.raises(FetchFailure, match=says) as caught:
        ImageFetcher(tmp_path / "fetched", private=True).fetch(server.url + name)
    assert caught.value.reason == reason and server.url + name in str(caught.value)
    assert server.times[name] == times
    assert not list(tmp_path.glob("fetched/*"))


def test_without_a_server_an_image_is_unreachable(server, tmp_path):
    server.server_close()
    for url in (server.url + "a", "http://[broken/a"):
        ((_, failure),) = ImageFetcher(tmp_path, private=True).fetch_all([url])
        assert isinstance(failure, FetchFailure) and url in str(failure)


# ---------------------------------------------------------------------------------------------------- hostile servers


class Raw:
    """Writes bytes to whoever connects, one of them every `pause_s` seconds if that is said."""

    def __init__(self, answer: bytes, pause_s: float = 0.0) -> None:
        self.answer, self.pause_s, self.num_connections = answer, pause_s, 0
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/a"

    def __enter__(self) -> Raw:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.num_connections += 1
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                if not self.pause_s:
                    connection.sendall(self.answer)
                for sign in self.answer if self.pause_s else b"":
                    connection.sendall(bytes([sign]))
                    time.sleep(self.pause_s)
            except OSError:
                pass


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(fetching, "_WAITS_S", (0.01, 0.01))


def fetched(url: str, folder, **settings) -> bytes | str:
    """The picture, or the reason why there is none."""
    ((_, found),) = ImageFetcher(folder, **{"private": True, **settings}).fetch_all([url])
    if isinstance(found, FetchFailure):
        assert url in str(found) and "\n" not in str(found)
        return found.reason
    return found.read_bytes()


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode() + body


PICTURE = picture()
HEADLESS = zlib.compressobj(wbits=-15)
RAW_DEFLATE = HEADLESS.compress(PICTURE) + HEADLESS.flush()


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0.0.0.0", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]",
        "169.254.169.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fe80::1]", "[fd00:ec2::254]",
        "224.0.0.1", "198.18.0.1", "255.255.255.255", "[::]", "192.0.0.192", "168.63.129.16", "[fec0::1]",
        "[64:ff9b:1::7f00:1]", "[::ffff:0:127.0.0.1]", "[2001:0:7f00:1::]", "100.100.100.200", "0", "LOCALHOST",
        "%31%32%37.0.0.1", "127%2e0%2E0%2e1", "[fe80::1%25lo]", "%6cocalhost", "[::%31]",
    ],
)  # fmt: skip
def test_places_that_are_not_public_are_not_connected_to(quick, tmp_path, monkeypatch, host):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    assert fetched(f"http://{host}:1/a", tmp_path, private=False) == "private_address"


@pytest.mark.hostile("network")
def test_a_name_that_leads_to_a_private_place(quick, tmp_path, monkeypatch):
    """What a name meant a moment ago does not count: the addresses that were looked at are connected to."""
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    answers = [[(family, kind, 6, "", ("10.0.0.5", 80))], [(family, kind, 6, "", ("127.0.0.1", 80))]]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    assert fetched("http://picture.example/a", tmp_path, private=False) == "private_address" and len(answers) == 1


@pytest.mark.hostile("network")
@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.hostile("network")
@pytest.mark.parametrize("url", ["http://a\nb/", "http://\ud83d/", "http://[", "http:///a", "http://a/" + "x" * 10**5])
def test_odd_addresses_are_named_in_one_line(quick, tmp_path, monkeypatch, url):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    ((_, found),) = ImageFetcher(tmp_path).fetch_all([url])
    assert isinstance(found, FetchFailure) and "\n" not in str(found) and len(str(found)) < 1000


@pytest.mark.hostile("network")
def test_a_redirection_to_a_private_place(quick, tmp_path, monkeypatch):
    with Raw(answer(PICTURE)) as hidden:
        moved = answer(b"", f"Location: http://localhost:{hidden.port}/a", "Content-Length: 0", status="302 Found")
        with Raw(moved) as server:
            monkeypatch.setattr(guarded_web, "is_public", lambda _: not server.num_connections)
            assert fetched(server.url, tmp_path, private=False) == "private_address"
            assert (server.num_connections, hidden.num_connections) == (1, 0)


@pytest.mark.hostile("network")
def test_a_proxy_is_not_asked_for_private_places(tmp_path, monkeypatch):
    with Raw(answer(PICTURE)) as proxy:
        monkeypatch.delenv("NO_PROXY", raising=False)
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for url in ("http://169.254.169.254/a", "https://10.0.0.1/a", "http://2130706433/a", "http://%31%30.0.0.1/a"):
            assert fetched(url, tmp_path, private=False) == "private_address", url
        assert proxy.num_connections == 0
        assert fetched("http://only-the-proxy-knows.invalid/a", tmp_path, private=False) == PICTURE
        assert fetched("http://10.0.0.1/a", tmp_path) == PICTURE


@pytest.mark.hostile("network")
@pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "data", "jar"])
def test_redirections_to_other_schemes_connect_nowhere(quick, tmp_path, scheme):
    with Raw(b"220 ready\r\n") as other:
        moved = answer(b"", f"Location: {scheme}://127.0.0.1:{other.port}/a", status="302 Found")
        with Raw(moved) as server:
            assert fetched(server.url, tmp_path) == "refused_by_server"
        assert other.num_connections == 0


@pytest.mark.hostile("network")
def test_redirections_without_end(quick, tmp_path):
    with Raw(answer(b"", "Location: /again", status="302 Found")) as server:
        assert fetched(server.url, tmp_path) == "refused_by_server" and server.num_connections < 12


SLOW = answer(b"", "X: " + "x" * 1000)
MOVING = answer(b"x" * 20, "Location: /again", "Content-Length: 20", status="302 Found")


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    ("said", "pause_s"),
    [(SLOW, 0.05), (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0.05), (MOVING, 0.01), (b"x" * 400, 0.05)],
)
def test_a_fetch_ends_in_time(quick, tmp_path, said, pause_s):
    started = time.monotonic()
    with Raw(said, pause_s) as server:
        assert fetched(server.url, tmp_path, timeout_s=0.5) in ("unreachable", "refused_by_server")
    assert time.monotonic() - started < 10  # half a second; without an end, 20 and more


@pytest.mark.hostile("network")
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("private", [False, True])
def test_a_name_that_is_looked_up_without_end(tmp_path, monkeypatch, private, proxied):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(patience.SECONDS))
    monkeypatch.setenv("NO_PROXY", "" if proxied else "*")
    monkeypatch.setenv("http_proxy", "http://proxy.example:1")
    started = time.monotonic()
    assert fetched("http://picture.example/a", tmp_path, timeout_s=0.2, private=private) == "unreachable"
    assert time.monotonic() - started < patience.SECONDS / 2
    over.set()


BOMB = gzip.compress(bytes(200 * 2**20), 1)


@pytest.mark.hostile("network")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(gzip.compress(PICTURE), "Content-Encoding: gzip"), PICTURE),
        (answer(gzip.compress(PICTURE), "Content-Encoding: x-gzip", "Transfer-Encoding: identity"), PICTURE),
        (answer(zlib.compress(PICTURE), "Content-Encoding: deflate"), PICTURE),
        (answer(RAW_DEFLATE, "Content-Encoding: deflate"), PICTURE),
        (answer(gzip.compress(gzip.compress(PICTURE)), "Content-Encoding: gzip, gzip"), PICTURE),
        (answer(gzip.compress(PICTURE)[:-9], "Content-Encoding: gzip"), "no_image"),
        (answer(PICTURE, "Content-Encoding: gzip"), "no_image"),
        (answer(PICTURE, "Content-Encoding: br"), "no_image"),
        (answer(PICTURE, "Content-Encoding: " + "gzip, " * 50), "no_image"),
        (answer(BOMB, "Content-Encoding: gzip"), "too_large"),
        (answer(PICTURE, f"Content-Length: {len(PICTURE)}", f"Content-Length: {len(PICTURE)}"), PICTURE),
        (answer(PICTURE, f"Content-Length: {len(PICTURE)}, {len(PICTURE)}"), PICTURE),
        (answer(PICTURE, "Content-Length: -1"), PICTURE),
        (answer(PICTURE, "Content-Length: many"), PICTURE),
        (answer(PICTURE, f"Content-Length: {len(PICTURE)}, 3"), PICTURE),
        (answer(PICTURE, "Content-Length: 3", f"Content-Length: {len(PICTURE)}"), "no_image"),
        (answer(PICTURE, "Content-Length: " + "9" * 30), "unreachable"),
        (answer(PICTURE, "Content-Length: 20"), "no_image"),
        (answer(b"%x\r\n%s\r\n0\r\n\r\n" % (len(PICTURE), PICTURE), "Transfer-Encoding: chunked"), PICTURE),
        (answer(b"fffffffffffff\r\n" + PICTURE, "Transfer-Encoding: chunked"), "unreachable"),
        (answer(b"-1\r\n" + PICTURE, "Transfer-Encoding: chunked"), "unreachable"),
        (answer(PICTURE, *["X: y"] * 200), "unreachable"),
        (answer(PICTURE, "X: " + "y" * 100_000), "unreachable"),
        (b"SSH-2.0-OpenSSH_9\r\n", "unreachable"),
        (b"\xff" * 100, "unreachable"),
        (b"", "unreachable"),
        (answer(b"", status="999 What"), "unreachable"),
    ],
)  # fmt: skip
def test_bodies_and_their_fields(quick, tmp_path, said, expected):
    with Raw(said) as server:
        assert fetched(server.url, tmp_path) == expected
