"""Every store on disk, cut or with one bit turned: what it held comes back, or a sentence names the file."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damaged_stores import STORES, Store, damages, inflict

CUTS, BITS = 6, 16


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)


class Made:
    """A store of a kind as it was made, and copies of it to be damaged."""

    def __init__(self, kind: str, root: Path) -> None:
        self.store: Store = STORES[kind]
        self._root, self._number = root, 0
        self.folder = root / "made"
        self.folder.mkdir(parents=True)
        self.store.make(self.folder)
        self.content: Any = self.store.read(self.copy())

    def copy(self) -> Path:
        self._number += 1
        folder = self._root / f"copy-{self._number}"
        shutil.copytree(self.folder, folder, symlinks=True)
        return folder

    def check(self, file: Path, place: int, bit: int | None) -> None:
        """That the damage is noticed and named, or changes nothing that is read."""
        folder = self.copy()
        inflict(folder, file, place, bit)
        try:
            found = self.store.read(folder)
        except ValueError as error:
            assert str(folder) in str(error)
        else:
            if self.store.grows and bit is None:
                assert found == self.content[: len(found)]
            else:
                assert found == self.content
        finally:
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    known: dict[str, Made] = {}

    def of(kind: str) -> Made:
        if kind not in known:
            known[kind] = Made(kind, tmp_path_factory.mktemp("damage") / "store")
        return known[kind]

    return of


@pytest.mark.hostile("damage")
@pytest.mark.parametrize("number", range(CUTS + BITS))
@pytest.mark.parametrize("kind", STORES)
def test_damage_is_named_or_without_effect(made, kind, number):
    one = made(kind)
    for _, file, place, bit in list(damages(one.folder, CUTS, BITS))[number :: CUTS + BITS]:
        one.check(file, place, bit)


@pytest.mark.slow
@pytest.mark.hostile("damage")
@pytest.mark.parametrize("kind", STORES)
@given(data=st.data())
def test_any_bit_and_any_cut(made, kind, data):
    one = made(kind)
    files = [path for path in sorted(one.folder.rglob("*")) if path.is_file() and path.suffix != ".lock"]
    file = data.draw(st.sampled_from([path for path in files if path.stat().st_size]))
    place = data.draw(st.integers(0, file.stat().st_size - 1))
    one.check(file.relative_to(one.folder), place, data.draw(st.none() | st.integers(0, 7)))
