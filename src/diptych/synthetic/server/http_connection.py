"""HTTP/1.1 on asyncio: connections kept alive, one request after another on each, and ways to break them."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`headers` by lower-case name; of a query only each name's first value."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class ConnectionBroken(Exception):
    """Raised instead of a response: the connection is reset."""


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """`value` as JSON."""
    return HttpResponse(status, json.dumps(value).encode(), headers=headers or {})


def error_response(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpResponse:
    """An error in OpenAI's form; `more` may give `param` and `code`."""
    error = {"message": message, "type": kind, "param": more.get("param"), "code": more.get("code")}
    return json_response({"error": error}, status, headers)


class HttpConnection(asyncio.Protocol):
    """One client's connection. `respond` makes the responses; `connections` holds those that are open."""

    def __init__(
        self, respond: Callable[[HttpRequest], Awaitable[HttpResponse]], connections: set[HttpConnection]
    ) -> None:
        self._respond, self._connections = respond, connections
        self._transport: asyncio.Transport
        self._received = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = transport  # type: ignore[assignment]
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """Collects what comes until a request is there."""
        self._received += data
        if self._task is None:
            self._next()

    def close(self) -> None:
        """Ends the connection and what is being done for it."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def _next(self) -> None:
        """Starts to answer the next request if all of it is there."""
        if self._head is None:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            del self._received[: end + 4]
            method, target, _ = first.split(" ", 2)
            self._head = (method, target, headers)
            if headers.get("expect", "").lower() == "100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        method, target, headers = self._head
        length = int(headers.get("content-length", 0))
        if "transfer-encoding" in headers:
            self._write(error_response(411, "send a Content-Length: this server reads no chunks"))
            self._transport.close()
        elif len(self._received) >= length:
            body = bytes(self._received[:length])
            del self._received[:length]
            self._head = None
            url = urlsplit(target)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            request = HttpRequest(method, unquote(url.path), query, headers, body)
            self._task = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: HttpRequest) -> None:
        try:
            response = await self._respond(request)
        except ConnectionBroken:
            if self._transport.is_closing():
                return
            linger = struct.pack("ii", 1, 0)  # closed at once, with RST instead of FIN
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self._transport.abort()
            return
        except Exception as error:
            logging.getLogger(__name__).exception("%s %s", request.method, request.path)
            response = error_response(500, f"a defect of this server: {error!r}", "server_error")
        if self._transport.is_closing():
            return
        self._write(response)
        self._task = None
        if self._received:
            self._next()

    def _write(self, response: HttpResponse) -> None:
        lines = [
            f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
            f"content-type: {response.content_type}",
            f"content-length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers.items()),
        ]
        self._transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + response.body)
