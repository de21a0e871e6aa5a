"""Chat completions of an OpenAI-compatible server, over connections that are kept: JSON there, JSON back."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from diptych.models.server.completion import Completion, read_completion
from diptych.models.server.server_failures import connection_failure, no_completion, refused_answer, timed_out
from diptych.storage.json_values import json_value

_OPENAI_URL = "https://api.openai.com/v1"
_ACCOUNT = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}


class ChatServer:
    """The server at `base_url` (None: what OPENAI_BASE_URL says, else OpenAI's own), asked with `key`, if it wants one;
    a request takes `timeout_s` seconds at most, reading included. Belongs to the running event loop.

    Proxies, certificates, and OpenAI's organisation and project come from the environment, as the package openai has
    it. That package is not used here: it takes several times the CPU time, which with many requests in flight is what
    limits their rate, to check what is read from the answer anyway.
    """

    def __init__(self, base_url: str | None, key: str | None, timeout_s: float) -> None:
        base_url = base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI_URL
        headers = {name: value for name, variable in _ACCOUNT.items() if (value := os.environ.get(variable))}
        headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._url, self._key = f"{base_url.rstrip('/')}/chat/completions", key or ""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the caller limits how many requests are in flight
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            proxy=_proxy(self._url),
        )

    async def complete(self, body: Mapping[str, Any]) -> Completion:
        """Text, finish reason and token counts (see `read_completion`) of what a request body asks for. Asks once.

        Raises:
            ServerFailure: there is no answer. Neither it nor what it came from holds the key.
        """
        failure = None
        data = io.BytesIO(json.dumps(body).encode())  # of a stream, aiohttp lets other requests in between
        try:
            async with self._session.post(self._url, data=data) as response:
                answer = await response.read()
        # These errors may quote the request with its key, so none is passed on.
        except asyncio.TimeoutError:
            failure = timed_out()
        except (aiohttp.ClientError, OSError) as error:
            failure = connection_failure(error, self._key)
        if failure is None and not 200 <= response.status < 300:
            failure = refused_answer(response.status, response.headers, answer, self._key)
        if failure is not None:
            raise failure
        return self._read(answer)

    def _read(self, answer: bytes) -> Completion:
        try:
            completion = read_completion(json_value(answer))
        except ValueError:
            completion = None
        if completion is None:
            raise no_completion(answer, self._key)
        return completion

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()


def _proxy(url: str) -> str | None:
    """The proxy that the environment has for a server. aiohttp would look it up with every request."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = None if proxy_bypass(parts.netloc) else proxies.get(parts.scheme) or proxies.get("all")
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy
