"""A real server on the loopback: what it does with each request is a list of steps."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server(ThreadingHTTPServer):
    """`steps` are taken one a question, the last for all that follow: (status, headers, body), or a function. It says
    that it holds `models`.
    """

    daemon_threads = True

    def __init__(self, steps: list[Any], models: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.steps, self.models, self.lock = steps, list(models), threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.paths: set[str] = set()
        self.times: list[float] = []
        self.keys: set[str] = set()
        self.connections: set[Any] = set()
        self.in_flight = self.most_in_flight = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.requests.append(body)
            server.paths.add(self.path)
            server.times.append(time.monotonic())
            server.keys.add(self.headers["Authorization"])
            server.connections.add(self.client_address)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            step = server.steps.pop(0) if len(server.steps) > 1 else server.steps[0]
        try:
            if callable(step):
                step = step(self, body)
        finally:
            with server.lock:
                server.in_flight -= 1
        if step is not None:
            self.send(*step)

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self.send(200, {}, {"object": "list", "data": self.server.models})

    def send(self, status: int, headers: dict[str, str], body: Any) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server at work in a thread, until the end of the block."""
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
