"""What a stage's folder was made with: `manifest.json`.

The key of a folder is a hash of the stage's settings and the content of its input files (with the key of the folder
that these lie in). Which ids are asked for is no part of it: new ones are added, others are kept. A folder with another
key is set aside as `NAME.<its key>`, never deleted, and comes back when the settings do.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.stages.running.record_stage import RecordStage
from diptych.storage.json_files import read_json, write_json
from diptych.storage.key import key_of
from diptych.storage.whole import move, remove_unfinished

log = logging.getLogger(__name__)

FILE = "manifest.json"
_BLOCK = 2**20


class Manifest:
    """The manifest of an opened folder."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.path = folder / FILE
        self._content = dict(content)

    def complete_with(self, ids: Sequence[str]) -> bool:
        """Whether the folder is complete for exactly these ids."""
        return self._content.get("ids") == _hash_of_ids(ids)

    def begin(self) -> None:
        """Says that the folder is being written."""
        self._write({name: self._content[name] for name in ("stage", "key", "settings", "inputs")})

    def complete(self, ids: Sequence[str], done: int, failed: Mapping[str, int]) -> None:
        """Says that everything is there; nothing in it depends on time, or on how often the work was interrupted."""
        self._write({**self._content, "done": done, "failed": dict(failed), "ids": _hash_of_ids(ids)})

    def _write(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)
        write_json(self.path, content, indent=1)


def open_folder(folder: Path, name: str, settings: Mapping[str, Any], stage: RecordStage) -> Manifest:
    """The manifest of the stage's folder, which is then empty, or was made with these settings and inputs.

    Raises:
        ValueError: an input file is missing, or the folder holds other things.
    """
    own = _without(settings, stage.runtime_settings)
    inputs = [_fingerprint(path, name) for path in stage.input_files]
    key = key_of([own, inputs])
    content = {"stage": name, "key": key, "settings": own, "inputs": inputs}
    found = _read(folder)
    if found is not None and found["key"] == key:
        return Manifest(folder, found)
    if found is not None:
        aside = _aside(folder, found["key"])
        move(folder, aside)
        log.info("%s: %s; what was made before is kept in %s", name, _changes(found, content), aside)
    remove_unfinished(folder, FILE)  # of a process that was killed while it began
    if found is None and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files, but no {FILE}: it is no stage's folder; name another, or remove it")
    if (earlier := _aside(folder, key)).exists():
        if folder.exists():
            folder.rmdir()
        move(earlier, folder)
        log.info("%s: back to settings that %s was made with", name, folder)
        return Manifest(folder, _read(folder) or content)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder, content)
    manifest.begin()
    return manifest


def _without(settings: Any, names: Sequence[str]) -> Any:
    """Settings without those named, dotted where they lie deeper: `captioner.client.timeout_s`."""
    if not isinstance(settings, Mapping):
        return settings
    return {
        key: _without(value, [name[len(key) + 1 :] for name in names if name.startswith(f"{key}.")])
        for key, value in settings.items()
        if key not in names
    }


def _aside(folder: Path, key: str) -> Path:
    return folder.with_name(f"{folder.name}.{key}")


def _read(folder: Path) -> dict[str, Any] | None:
    return read_json(folder / FILE, "remove the folder, and it is made again", missing_ok=True)


def _fingerprint(path: Path, name: str) -> str:
    """Stands for a file's content, and for the settings of the stage that made it."""
    if not path.is_file():
        raise ValueError(f"stage {name} reads {path}, which is not there; run the stage that makes it, or correct it")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    made_with = _read(path.parent)
    digest.update(made_with["key"].encode() if made_with else b"")
    return digest.hexdigest()[:16]


def _hash_of_ids(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    there, here = found["settings"], wanted["settings"]
    changed = [str(key) for key in {**there, **here} if there.get(key) != here.get(key)]
    return f"other settings ({', '.join(changed)})" if changed else "its input has changed"
