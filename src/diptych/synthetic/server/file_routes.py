"""The routes beside chat: models, files and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from diptych.synthetic.server.batches import Batches

MODEL = "rooms-vlm"


class FileRoutes:
    """Handlers for models, and for the files and batches of a server.

    They raise NotFound for an unknown id, and ValueError for what a client did wrong.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def routes(self) -> list[web.RouteDef]:
        """All of them, to be added to an application."""
        return [
            web.get("/v1/models", self._models),
            web.get("/v1/models/{id}", self._model),
            web.post("/v1/files", self._upload),
            web.get("/v1/files", self._files),
            web.get("/v1/files/{id}", self._file),
            web.get("/v1/files/{id}/content", self._content),
            web.delete("/v1/files/{id}", self._delete),
            web.post("/v1/batches", self._create),
            web.get("/v1/batches", self._list),
            web.get("/v1/batches/{id}", self._batch),
            web.post("/v1/batches/{id}/cancel", self._cancel),
        ]

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [_model(MODEL)]})

    async def _model(self, request: web.Request) -> web.Response:
        return web.json_response(_model(request.match_info["id"]))

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, web.FileField) or not isinstance(purpose, str):
            raise ValueError("an upload is a form with 'purpose' and 'file'")
        return web.json_response(self._batches.add_file(file.filename, purpose, file.file.read()))

    async def _files(self, request: web.Request) -> web.Response:
        return web.json_response(_page(self._batches.files(), request.query))

    async def _file(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches.file(request.match_info["id"])[0])

    async def _content(self, request: web.Request) -> web.Response:
        content = self._batches.file(request.match_info["id"])[1]
        return web.Response(body=content, content_type="application/octet-stream")

    async def _delete(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches.delete_file(request.match_info["id"]))

    async def _create(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches.create(await request.json()))

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response(_page(self._batches.batches(), request.query))

    async def _batch(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches.batch(request.match_info["id"]))

    async def _cancel(self, request: web.Request) -> web.Response:
        return web.json_response(self._batches.cancel(request.match_info["id"]))


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
