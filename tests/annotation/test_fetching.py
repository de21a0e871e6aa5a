"""Remote images, from a server on the loopback that also has what is none."""

from __future__ import annotations

import io
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from diptych.annotation import fetching
from diptych.annotation.fetching import FetchFailure, ImageFetcher


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
    fetcher = ImageFetcher(tmp_path / "fetched")
    urls = [f"{server.url}{name}" for name in ("a", "b", "with a blank", "busy")]
    found = list(fetcher.fetch_all(urls))
    assert [url for url, _ in found] == urls
    assert all(path.read_bytes() == picture() for _, path in found)
    assert server.times == {"a": 1, "b": 1, "with%20a%20blank": 1, "busy": 3}
    assert list(ImageFetcher(tmp_path / "fetched").fetch_all(urls)) == found and server.times["a"] == 1
    assert len(list((tmp_path / "fetched").iterdir())) == 4


@pytest.mark.parametrize(
    ("name", "reason", "times", "says"),
    [
        ("gone", "not_found", 1, "404"),
        ("closed", "refused_by_server", 1, "403"),
        ("broken", "unreachable", 3, "500"),
        ("torn", "unreachable", 3, "broke off after"),
        ("page", "no_image", 1, "cannot identify"),
        ("half", "no_image", 1, "readable image"),
        ("large", "too_large", 1, "more than"),
    ],
)
def test_what_is_no_image_leaves_no_file(server, tmp_path, name, reason, times, says):
    with pytest.raises(FetchFailure, match=says) as caught:
        ImageFetcher(tmp_path / "fetched").fetch(server.url + name)
    assert caught.value.reason == reason and server.url + name in str(caught.value)
    assert server.times[name] == times
    assert not list(tmp_path.glob("fetched/*"))


def test_without_a_server_an_image_is_unreachable(server, tmp_path):
    server.server_close()
    for url in (server.url + "a", "http://[broken/a"):
        ((_, failure),) = ImageFetcher(tmp_path).fetch_all([url])
        assert isinstance(failure, FetchFailure) and url in str(failure)
