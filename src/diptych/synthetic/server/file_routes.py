"""The routes beside chat: models, files and batches."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from diptych.synthetic.server.batches import Batches
from diptych.synthetic.server.http_connection import HttpRequest, HttpResponse, error_response, json_response

MODEL = "rooms-vlm"


def respond_about_files(request: HttpRequest, batches: Batches) -> HttpResponse:
    """Models, files and batches. Raises NotFound, and ValueError for what a client did wrong."""
    root, kind, *rest = [*request.path.strip("/").split("/"), ""]
    route = (request.method, kind, *(part if part in ("content", "cancel") else "id" for part in rest if part))
    known = rest[0] if rest else ""
    if root != "v1":
        route = ()
    if route == ("GET", "models"):
        return json_response({"object": "list", "data": [_model(MODEL)]})
    if route == ("GET", "models", "id"):
        return json_response(_model(known))
    if route == ("POST", "files"):
        return json_response(batches.add_file(*_upload(request)))
    if route == ("GET", "files"):
        return json_response(_page(batches.files(), request.query))
    if route == ("GET", "files", "id"):
        return json_response(batches.file(known)[0])
    if route == ("GET", "files", "id", "content"):
        return HttpResponse(200, batches.file(known)[1], "application/octet-stream")
    if route == ("DELETE", "files", "id"):
        return json_response(batches.delete_file(known))
    if route == ("POST", "batches"):
        return json_response(batches.create(json.loads(request.body)))
    if route == ("GET", "batches"):
        return json_response(_page(batches.batches(), request.query))
    if route == ("GET", "batches", "id"):
        return json_response(batches.batch(known))
    if route == ("POST", "batches", "id", "cancel"):
        return json_response(batches.cancel(known))
    return error_response(404, f"Invalid URL ({request.method} {request.path})")


def boundary(request: HttpRequest) -> bytes:
    """What separates the parts of a form; empty where the body is none."""
    found = re.search(r'multipart/form-data;.*boundary="?([^";]+)', request.headers.get("content-type", ""))
    return found[1].encode() if found else b""


def _upload(request: HttpRequest) -> tuple[str, str, bytes]:
    """Name, purpose and content of an uploaded file. Raises ValueError."""
    fields: dict[str, tuple[str, bytes]] = {}
    for part in request.body.split(b"--" + (boundary(request) or b"\0"))[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        names = dict(re.findall(r'(\bname|filename)="([^"]*)"', head.decode("utf-8")))
        fields[names.get("name", "")] = (names.get("filename", ""), content.removesuffix(b"\r\n"))
    if not {"file", "purpose"} <= set(fields):
        raise ValueError("an upload is a form with 'purpose' and 'file'")
    return fields["file"][0], fields["purpose"][1].decode(), fields["file"][1]


def _page(records: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """`limit` records (20) behind the one with the id `after`."""
    ids = [record["id"] for record in records]
    if query.get("after") and query["after"] not in ids:
        raise ValueError(f"after={query['after']!r}: there is no such record")
    start = ids.index(query["after"]) + 1 if query.get("after") else 0
    limit = int(query.get("limit", 20))
    page = list(records[start : start + limit])
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return {"object": "list", "data": page, "has_more": start + limit < len(records), **ends}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "diptych"}
