"""What the server says beside answers: errors in OpenAI's form, and a connection that breaks instead."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

from aiohttp import web

_LINGER_0 = struct.pack("ii", 1, 0)  # closed at once, with RST instead of FIN


def error_body(message: str, kind: str = "invalid_request_error", **more: str | None) -> dict[str, Any]:
    """The JSON of an error; `more` may give `param` and `code`."""
    return {"error": {"message": message, "type": kind, "param": more.get("param"), "code": more.get("code")}}


def error_response(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    headers: Mapping[str, str] | None = None,
    **more: str | None,
) -> web.Response:
    """An error as a whole response; see `error_body`."""
    return web.json_response(error_body(message, kind, **more), status=status, headers=headers)


def reset_connection(request: web.Request) -> web.Response:
    """Resets the request's connection; what a handler has to return is returned, and reaches nobody."""
    if request.transport is not None:  # else the client has gone already
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
        request.transport.abort()
    return web.Response()
