"""A server like OpenAI's on loopback that answers questions about rooms, as well as asked and as badly as asked.

    python -m diptych.synthetic.server --scenes data/rooms --hallucination 0.1 --faults any=0.1

serves in a process of its own (see `__main__`). Tests start it in a thread:

    with AnnotationServer(ServerSettings(scenes=folder, faults={"cut": 1.0})) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="any")

Served: POST /v1/chat/completions; GET /v1/models; /v1/files and /v1/batches; GET /images/... of the set; and GET
/count, what `Count` knows and how often each fault hit, which no fault hits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from diptych.synthetic.server.batches import MAX_BYTES, Batches, NotFound
from diptych.synthetic.server.completions import completion
from diptych.synthetic.server.count import Count
from diptych.synthetic.server.faults import CONTENT, TRANSPORT, Faults
from diptych.synthetic.server.file_routes import FileRoutes
from diptych.synthetic.server.responses import error_body, error_response, reset_connection
from diptych.synthetic.server.rooms_answers import Asked, RoomsAnswers, Untruth, read_question
from diptych.synthetic.server.rooms_images import Picture, RoomsFolder

CHAT = "/v1/chat/completions"
_OPEN = ("/count", "/images/")  # for everybody, and hit by no fault
_MAX_REQUEST = MAX_BYTES + 2**20  # a file of the largest size, and the form around it
_STOP_WITHIN_S = 0.05  # what is being answered when the server stops is not waited for

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How the server answers. `scenes` is a rooms set; without one it knows no pictures. `faults` are rates by name
    (`Faults`). `latency_s` is what each chat answer takes, `hang_s` what a hanging one takes until its connection is
    reset, `batch_s` what a batch takes and `batch_answered` the share of it that a fault lets through. With an
    `api_key`, requests without it are refused. Without `structured`, requests with a JSON schema or mode are; without
    `logprobs`, those that ask for them.
    """

    scenes: Path | None = None
    untruth: Untruth = field(default_factory=Untruth)
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    latency_s: float = 0.0
    retry_after_s: float = 1.0
    hang_s: float = 600.0
    batch_s: float = 0.2
    batch_answered: float = 0.5
    structured: bool = True
    logprobs: bool = True
    api_key: str | None = None


class AnnotationServer:
    """The server, on a port of loopback (0: any free one); a context manager that runs it in a thread.

    Raises:
        ValueError: a setting makes no sense.
    """

    def __init__(self, settings: ServerSettings | None = None, port: int = 0) -> None:
        self.settings = settings or ServerSettings()
        self._port = port
        self._rooms = RoomsFolder(self.settings.scenes) if self.settings.scenes is not None else None
        self._answers = RoomsAnswers(self._rooms, self.settings.untruth, self.settings.seed)
        self._faults = Faults(self.settings.faults, self.settings.seed)
        self._count = Count()
        self._batches = Batches(self._answer_line, self._faults, self.settings.batch_s, self.settings.batch_answered)
        self._runner: web.AppRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.base_url = ""

    # ------------------------------------------------------------------------------------------------- its life

    async def start(self) -> None:
        """Listens, in the running loop; `base_url` is known from then on."""
        app = web.Application(middlewares=[self._guard], client_max_size=_MAX_REQUEST)
        app.add_routes([web.get("/count", self._tell_count), web.get("/images/{name:.+}", self._image)])
        app.add_routes([web.post(CHAT, self._chat), *FileRoutes(self._batches).routes()])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_WITHIN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=1024).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def stop(self) -> None:
        """Closes all connections and ends what is being done for them."""
        assert self._runner is not None
        await self._runner.cleanup()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def count(self) -> dict[str, Any]:
        """What GET /count says."""
        return {**self._count.to_json(), "faults": dict(self._faults.count)}

    def __enter__(self) -> AnnotationServer:
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.start())
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._loop is not None and self._thread is not None
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --------------------------------------------------------------------------------------------------- routes

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Before a handler: the key, and, beside chat, a fault; around it: errors in OpenAI's form."""
        try:
            if request.path.startswith(_OPEN):
                return await handler(request)
            key = self.settings.api_key
            if key is not None and request.headers.get("authorization") != f"Bearer {key}":
                return error_response(401, "Incorrect API key provided.", code="invalid_api_key")
            if request.path == CHAT:
                return await handler(request)
            fault = self._faults.draw(await _content(request), TRANSPORT)
            refused = await self._transport_fault(fault, request)
            if refused is not None:
                return refused
            response = await handler(request)
            return reset_connection(request) if fault == "lost_reply" else response
        except NotFound as error:
            return error_response(404, str(error))
        except ValueError as error:
            return error_response(400, str(error))
        except web.HTTPException as error:
            return error_response(error.status, f"{error.reason} ({request.method} {request.path})")
        except Exception as error:
            log.exception("%s %s", request.method, request.path)
            return error_response(500, f"a defect of this server: {error!r}", "server_error")

    async def _tell_count(self, request: web.Request) -> web.Response:
        return web.json_response(self.count())

    async def _image(self, request: web.Request) -> web.StreamResponse:
        path = self._rooms.path(request.path[1:]) if self._rooms else None
        return web.FileResponse(path) if path else error_response(404, "no such image")

    async def _transport_fault(self, fault: str, request: web.Request) -> web.Response | None:
        """What answers a request that a fault keeps from its handler; None where it comes through."""
        if fault == "rate_limit":
            after = {"retry-after": f"{self.settings.retry_after_s:g}"}
            return error_response(429, "Rate limit reached.", "requests", after, code="rate_limit_exceeded")
        if fault == "server_error":
            return error_response(500, "The server had an error while processing your request.", "server_error")
        if fault == "hang":
            await asyncio.sleep(self.settings.hang_s)
        return reset_connection(request) if fault in ("reset", "hang") else None

    # ----------------------------------------------------------------------------------------------------- chat

    async def _chat(self, request: web.Request) -> web.Response:
        self._count.enter(1)
        try:
            return await self._answer(request)
        finally:
            self._count.enter(-1)

    async def _answer(self, request: web.Request) -> web.Response:
        digest = await _content(request)
        try:
            body = await request.json()
            asked = self._read(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            param = next((name for name in ("response_format", "logprobs") if name in str(error)), None)
            return error_response(400, f"{error}", param=param)
        self._count.start(asked.kind, digest)
        fault = self._faults.draw(digest, TRANSPORT + CONTENT)
        refused = await self._transport_fault(fault, request)
        if refused is not None:
            return refused
        answer = self._completion(body, asked, fault, digest)
        if self.settings.latency_s:
            await asyncio.sleep(self.settings.latency_s)
        self._count.answer(asked.kind)
        return reset_connection(request) if fault == "lost_reply" else web.json_response(answer)

    def _completion(self, body: dict[str, Any], asked: Asked[Picture], fault: str, digest: bytes) -> dict[str, Any]:
        answer, certainty = self._answers.answer(asked), self._answers.certainty
        return completion(body, asked, answer, fault, digest.hex(), certainty)

    def _read(self, body: dict[str, Any]) -> Asked[Picture]:
        if body.get("stream"):
            raise ValueError("this server does not stream")
        if not isinstance(body.get("model"), str):
            raise ValueError("you must provide a model parameter")
        if not self.settings.structured and (body.get("response_format") or {}).get("type", "text") != "text":
            raise ValueError("response_format: this server supports text only")
        if not self.settings.logprobs and body.get("logprobs"):
            raise ValueError("logprobs: this server does not support them")
        return read_question(body, self._rooms)

    def _answer_line(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A request of a batch; of the transport faults only errors of the server can hit it."""
        digest = hashlib.blake2b(json.dumps(body).encode(), digest_size=16).digest()
        try:
            asked = self._read(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return 400, error_body(str(error))
        self._count.start(f"batch/{asked.kind}", digest)
        fault = self._faults.draw(digest, ("server_error", *CONTENT))
        if fault == "server_error":
            return 500, error_body("The server had an error.", "server_error")
        self._count.answer(f"batch/{asked.kind}")
        return 200, self._completion(body, asked, fault, digest)


async def _content(request: web.Request) -> bytes:
    """A digest of what a request says; of a form its fields, because clients draw the boundary anew each time."""
    head = f"{request.method} {request.path} {sorted(request.query.items())} "
    digest = hashlib.blake2b(head.encode(), digest_size=16)
    if not request.content_type.startswith("multipart/"):
        digest.update(await request.read())
        return digest.digest()
    for name, value in (await request.post()).items():
        content = value.file.read() if isinstance(value, web.FileField) else str(value).encode()
        digest.update(name.encode() + b"=" + content)
        if isinstance(value, web.FileField):
            value.file.seek(0)  # a handler reads it again
    return digest.digest()
