"""What a stage's folder was made with: `manifest.json`.

The key of a folder is a hash of the stage's settings and the content of its input files (with the key of the folder
that these lie in). Which ids are asked for is no part of it: new ones are added, others are kept. A folder with another
key is set aside as `NAME.<its key>`, never deleted, and comes back when the settings do. Folders that an earlier
version made are known by their settings, and keep the key that they have.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diptych.stages.running.earlier_settings import present_settings
from diptych.storage.json_files import read_json, write_json
from diptych.storage.json_shapes import Count
from diptych.storage.key import key_of
from diptych.storage.whole import move, remove_unfinished

log = logging.getLogger(__name__)

FILE = "manifest.json"
_BLOCK = 2**20
_MAKE_AGAIN = "remove the folder, and it is made again"
_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)  # a folder is set aside under it
_SHAPE = {
    "stage": str,
    "key": str,
    "settings": dict,
    "inputs": [str],
    "done?": Count,
    "failed?": {str: Count},
    "ids?": str,
}


class Manifest:
    """The manifest of an opened folder."""

    def __init__(self, folder: Path, content: Mapping[str, Any]) -> None:
        self.path = folder / FILE
        self._content = dict(content)

    @property
    def content(self) -> dict[str, Any]:
        """What the file says."""
        return dict(self._content)

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


def open_folder(
    folder: Path,
    name: str,
    settings: Mapping[str, Any],
    inputs: Sequence[Path] = (),
    runtime: Sequence[str] = (),
) -> Manifest:
    """The manifest of the folder of the stage `name`, which is then empty, or was made with these settings and inputs.

    `inputs` are files whose content counts; `runtime` names settings that do not, with dots where they lie deeper. What
    comes back after it was set aside is not complete: files outside the folder may be those of other settings.

    Raises:
        ValueError: an input file is missing, or the folder holds other things.
    """
    own = json.loads(json.dumps(_without(settings, runtime)))
    hashes = [_fingerprint(path, name) for path in inputs]
    key = key_of([own, hashes])
    content = {"stage": name, "key": key, "settings": own, "inputs": hashes}
    found = _read(folder)
    if found is not None and _is_made_with(found, content):
        return Manifest(folder, found)
    if found is not None:
        aside = _aside(folder, found["key"])
        move(folder, aside)
        log.info("%s: %s; what was made before is kept in %s", name, _changes(found, content), aside)
    remove_unfinished(folder, FILE)  # of a process that was killed while it began
    if found is None and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files, but no {FILE}: it is no stage's folder; name another, or remove it")
    earlier = _earlier(folder, content)
    if earlier is not None:
        if folder.exists():
            folder.rmdir()
        manifest = Manifest(earlier, _read(earlier) or content)
        manifest.begin()  # before it comes back: a kill in between must not leave it complete
        move(earlier, folder)
        log.info("%s: back to settings that %s was made with", name, folder)
        return Manifest(folder, manifest.content)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder, content)
    manifest.begin()
    return manifest


def as_begun(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A stage's settings with every `dtype` that is `auto`, or not said, as the folder was begun with, on whatever
    machine that was: what is there is gone on with, and holds numbers of one type. As they are where the folder is new,
    or of another class or other settings beside the type.
    """
    found = _read(folder)
    return dict(settings) if found is None else _with_types(settings, present_settings(found["settings"]))


def _with_types(settings: Any, begun: Any) -> Any:
    if not isinstance(settings, Mapping) or not isinstance(begun, Mapping):
        return settings
    found = {key: _with_types(value, begun.get(key)) for key, value in settings.items()}
    both = found.keys() & begun.keys() - {"dtype"}  # others came by being settled, or do not count
    alike = "_target_" in both and all(found[key] == begun[key] for key in both)
    if alike and begun.get("dtype") and found.get("dtype", "auto") == "auto":
        found["dtype"] = begun["dtype"]
    return found


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


def _earlier(folder: Path, wanted: Mapping[str, Any]) -> Path | None:
    """The folder that was set aside and holds what is wanted."""
    for path in sorted(folder.parent.glob(f"{glob.escape(folder.name)}.*")):
        with suppress(ValueError):  # somebody's folder of a similar name
            found = _read(path) if path.is_dir() else None
            if found is not None and _is_made_with(found, wanted):
                return path
    return None


def _is_made_with(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a manifest is about the settings and inputs that are wanted, perhaps in an earlier version's words."""
    if found["key"] == wanted["key"]:
        return True
    return found["inputs"] == wanted["inputs"] and present_settings(found["settings"]) == wanted["settings"]


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / FILE
    found = read_json(path, _MAKE_AGAIN, missing_ok=True, shape=_SHAPE)
    if found is not None and _KEY.fullmatch(found["key"]) is None:
        raise ValueError(f"{path}: the key {found['key']!r:.80} is none of a stage; {_MAKE_AGAIN}")
    return found


def _fingerprint(path: Path, name: str) -> str:
    """Stands for a file's content, and for the settings of the stage that made it."""
    if not path.is_file():
        raise ValueError(f"stage {name} reads {path}, which is not there; run the stage that makes it, or correct it")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    with suppress(ValueError):  # beside the data of a user may lie a file of this name that is of another kind
        made_with = read_json(path.parent / FILE, missing_ok=True, shape={"key": str})
        digest.update(made_with["key"].encode() if made_with else b"")
    return digest.hexdigest()[:16]


def _hash_of_ids(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]


def _changes(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    there, here = present_settings(found["settings"]), wanted["settings"]
    changed = [str(key) for key in {**there, **here} if there.get(key) != here.get(key)]
    return f"other settings ({', '.join(changed)})" if changed else "its input has changed"
