"""The checksums of a folder's files, in a file among them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from diptych.storage.checksums import Damaged, crc_of_file
from diptych.storage.json_files import read_json

CHECKSUMS = "checksums.json"


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Adds `checksums.json` about these files to a folder that is being written."""
    (folder / CHECKSUMS).write_text(json.dumps({name: crc_of_file(folder / name) for name in names}, indent=1))


def read_checksums(folder: Path, advice: str) -> dict[str, int]:
    """What `write_checksums` has said of the files of a folder; nothing where earlier versions wrote it.

    Raises:
        Damaged: the file that says it is damaged; `advice` says what to do.
    """
    path = folder / CHECKSUMS
    try:
        said = read_json(path, missing_ok=True)
    except ValueError as error:
        raise Damaged(f"{error}; {advice}") from None
    if said is None:
        return {}
    if not isinstance(said, dict) or not all(type(checksum) is int for checksum in said.values()):
        raise Damaged(f"{path} is damaged (no checksums by file); {advice}")
    return said


def check_files(folder: Path, said: dict[str, int], names: Iterable[str], advice: str) -> None:
    """Reads files of the folder; where nothing is said of any they pass.

    Raises:
        Damaged: one is not there, or not as it was written; `advice` says what to do.
    """
    for name in names if said else ():
        try:
            intact = crc_of_file(folder / name) == said.get(name)
        except OSError as error:
            raise Damaged(f"{folder / name} cannot be read ({error.strerror or error}); {advice}") from None
        if not intact:
            raise Damaged(f"{folder / name} is damaged (its checksum differs); {advice}")
