"""What the tests of the readers share: our invented records, the published ones where they lie beside the checkout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import golden_files


@pytest.fixture
def assets() -> Path:
    return golden_files.TESTS / "assets"


@pytest.fixture
def published() -> Callable[[str], Path]:
    """The folder of a published set's annotation files; they are not ours to redistribute."""

    def find(name: str) -> Path:
        return golden_files.beside_the_checkout(f"real/{name}")

    return find


@pytest.fixture
def copy_of(assets: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a set of invented records, to be broken."""
    return lambda name: Path(shutil.copytree(assets / name, tmp_path / name))


@pytest.fixture
def edit_json() -> Callable[[Path, Callable[[Any], Any]], None]:
    """Rewrites a JSON file: `edit_json(path, change)`, where change alters the content in place."""

    def edit(path: Path, change: Callable[[Any], Any]) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit
