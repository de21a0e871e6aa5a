"""A small rooms set, and servers that answer about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

import patience
from diptych.synthetic.rooms.generate import RoomsSettings, generate_rooms
from diptych.synthetic.server.rooms_images import RoomsFolder
from diptych.synthetic.server.server import AnnotationServer, ServerSettings

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = RoomsSettings(num_train_hotels=12, num_val_hotels=1, num_test_hotels=1)
    return generate_rooms(tmp_path_factory.mktemp("rooms") / "set", settings, num_workers=1)


@pytest.fixture(scope="session")
def rooms(folder: Path) -> RoomsFolder:
    return RoomsFolder(folder)


@pytest.fixture(scope="session")
def pairs(folder: Path) -> list[tuple[Path, Path]]:
    records = json.loads((folder / "captions" / "hotel_train_data.json").read_text())
    images = folder / "images" / "train"
    return [(images / record["query_image"], images / record["result_image"]) for record in records]


@pytest.fixture
def serve() -> Iterator[Ask]:
    """`serve(scenes=folder, faults={...})`: the server and a client of it that does not try again."""
    opened: list[Any] = []

    def start(**settings: Any) -> tuple[AnnotationServer, openai.OpenAI]:
        server = AnnotationServer(ServerSettings(**settings))
        server.__enter__()
        plain = openai.DefaultHttpxClient(verify=False)  # certificates take long to load, and serve no purpose here
        client = openai.OpenAI(
            base_url=server.base_url, api_key="any", max_retries=0, timeout=patience.SECONDS, http_client=plain
        )
        opened.extend([client.close, lambda: server.__exit__()])
        return server, client

    yield start
    for close in opened:
        close()
