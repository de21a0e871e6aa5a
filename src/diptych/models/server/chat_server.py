"""Completions of an OpenAI-compatible server, over connections that are kept: JSON there, JSON back."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from diptych.models.server.bodies import LARGEST_ANSWER, TooLargeBody
from diptych.models.server.completion import Completion, Written, read_completion, read_models, read_written
from diptych.models.server.server_failures import (
    connection_failure,
    no_completion,
    refused_answer,
    timed_out,
    too_large,
)
from diptych.models.server.server_settings import server_url
from diptych.parallel.deadline import in_background
from diptych.storage.json_values import json_value

_LARGEST_ERROR = 2**16  # bytes; the rest of what a server says of an error is left unread
_MOST_REDIRECTIONS = 3
_SAME_REQUEST = (307, 308)  # what is asked there is the same; others turn it into a GET
Found = TypeVar("Found")
_ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


class ChatServer:
    """The server at `base_url` (None: what OPENAI_BASE_URL says, else OpenAI's own), asked with `key`, if it wants one;
    a request takes `timeout_s` seconds at most, reading included. Belongs to the running event loop.

    Proxies, certificates, and OpenAI's organisation and project come from the environment, as the package openai has
    it. An answer has at most 16 MiB, and redirections are followed on the same server only: key, organisation, project
    and question go nowhere else.

    The package openai is not used here: it takes several times the CPU time, which with many requests in flight is what
    limits their rate, to check what is read from the answer anyway.
    """

    def __init__(self, base_url: str | None, key: str | None, timeout_s: float) -> None:
        headers = {name: value for name, variable in _ACCOUNT.items() if (value := os.environ.get(variable))}
        headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._url, self._key = server_url(base_url), key or ""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, resolver=_Names()
            ),  # the caller limits how many requests are in flight
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            proxy=_proxy(self._url),
        )

    async def complete(self, body: Mapping[str, Any]) -> Completion:
        """What a chat's request body is answered with (see `read_completion`). Asks once.

        Raises:
            ServerFailure: there is no answer. Neither it nor what it came from holds the key.
        """
        return self._read(await self._answer("/chat/completions", body), read_completion, "chat completion")

    async def write(self, body: Mapping[str, Any]) -> list[Written]:
        """What the model wrote (see `read_written`) for a request body with a prompt; otherwise as `complete`."""
        return self._read(await self._answer("/completions", body), read_written, "completion")

    async def models(self) -> list[Mapping[str, Any]]:
        """What the server says of the models that it holds, each with its `id`; otherwise as `complete`."""
        return self._read(await self._answer("/models"), read_models, "list of models")

    async def _answer(self, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        failure = None
        try:
            async with await self._send(self._url + path, body) as response:
                succeeded = 200 <= response.status < 300
                answer = await _content(response, LARGEST_ANSWER if succeeded else _LARGEST_ERROR, succeeded)
        # These errors may quote the request with its key, so none is passed on.
        except asyncio.TimeoutError:
            failure = timed_out()
        except TooLargeBody as error:
            failure = too_large(error, self._key)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = connection_failure(error, self._key)
        if failure is None and not succeeded:
            failure = refused_answer(response.status, response.headers, answer, self._key)
        if failure is not None:
            raise failure
        return answer

    async def _send(self, url: str, body: Mapping[str, Any] | None) -> aiohttp.ClientResponse:
        """The answer to a request, its content unread; as it comes from the server that was asked."""
        data = None if body is None else json.dumps(body).encode()
        for _ in range(_MOST_REDIRECTIONS):
            if data is None:
                response = await self._session.get(url, allow_redirects=False)
            else:
                stream = io.BytesIO(data)  # of a stream, aiohttp lets other requests in between
                response = await self._session.post(url, data=stream, allow_redirects=False)
            target = urljoin(url, response.headers.get("Location", url))
            if response.status not in _SAME_REQUEST or target == url or _origin(target) != _origin(url):
                break
            response.release()
            url = target
        return response

    def _read(self, answer: bytes, read: Callable[[Any, str], Found | None], wanted: str) -> Found:
        try:
            found = read(json_value(answer), self._key)
        except ValueError:
            found = None
        if found is None:
            raise no_completion(answer, self._key, wanted)
        return found

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


class _Names(AbstractResolver):
    """Looks names up where nothing waits for one that hangs: not the next request, and not the end of the run."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError where it has none."""
        kinds: dict[str, Any] = {"type": socket.SOCK_STREAM, "family": family, "flags": socket.AI_ADDRCONFIG}
        look_up = partial(socket.getaddrinfo, host, port, **kinds)
        found = await asyncio.wrap_future(in_background(look_up, f"looking up {host}"))
        return [_address(host, kind, protocol, place) for kind, _, protocol, _, place in found]

    async def close(self) -> None:
        """Nothing is open."""


def _address(host: str, family: int, protocol: int, place: tuple[Any, ...]) -> ResolveResult:
    scope = f"%{place[3]}" if len(place) > 3 and place[3] else ""  # of an address that holds on one network only
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=host, host=f"{place[0]}{scope}", port=place[1], family=family, proto=protocol, flags=flags
    )


async def _content(response: aiohttp.ClientResponse, most: int, whole: bool) -> bytes:
    """The unpacked body; of one that is larger its beginning, or TooLargeBody where it is wanted whole."""
    data = bytearray()
    async for block in response.content.iter_any():
        data += block
        if len(data) > most:
            response.close()
            if whole:
                raise TooLargeBody(f"it has more than {most // 2**20} MiB")
            break
    return bytes(data[:most])


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _proxy(url: str) -> str | None:
    """The proxy that the environment has for a server. aiohttp would look it up with every request."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = None if proxy_bypass(parts.netloc) else proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
