"""Records that are kept as they are made: JSON lines that a killed run leaves readable and the next run continues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from diptych.storage.checksums import Damaged
from diptych.storage.json_files import json_lines, read_json, read_json_lines, write_json
from diptych.storage.json_shapes import Shape
from diptych.storage.line_checksums import LineChecksums
from diptych.storage.whole import disk_named, sync_file

Record = Mapping[str, Any]


class RecordLog:
    """A file of JSON lines, one record each, named by the text under `key`. Construction does no I/O.

    One process writes a file; any number may read it meanwhile. What `append` has written survives a crash of process
    or machine; a line that was being written then, or did not fit on the disk, is not read, and is cut off by the next
    `append`. `.NAME.crc` beside the file holds its lines' checksums, see `LineChecksums`; files of earlier versions
    have none until something is appended.
    """

    def __init__(self, path: str | Path, key: str = "query_id") -> None:
        self.path = Path(path)
        self._key = key
        self._checksums = LineChecksums(self.path)
        self._ends_whole = False

    def read(self, shape: Shape = object) -> dict[str, dict[str, Any]]:
        """The complete records by id, in file order; none where there is no file.

        Raises:
            ValueError: a line is no JSON object with the key, an id occurs twice, a record is not of the shape (see
                `json_shapes`), or a line is not as it was written; names file and line.
        """
        try:
            return self._read(shape)
        except Damaged:  # or another process has replaced the file between the reading of its lines and its checksums
            return self._read(shape)

    def append(self, records: Iterable[Record]) -> None:
        """Adds records; when it returns they are on the disk.

        Raises:
            OSError: the disk does not take them; names the file, and the next call goes on behind what was there.
            ValueError: a line that is there is not as it was written.
        """
        data = json_lines(records)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with disk_named(self.path):
            if not self._ends_whole:
                self._checksums.check()
                self._cut_off_half_line()
                self._checksums.renew()
            self._ends_whole = False  # until all is written
            with self.path.open("ab") as file:
                file.write(data)
                sync_file(file)
            self._checksums.add(data)
            self._ends_whole = True

    def write(self, records: Iterable[Record]) -> None:
        """Replaces the file by these records, in one step."""
        self._checksums.replace_lines(json_lines(records))

    def remove(self) -> None:
        """Deletes the file, if it is there."""
        self.path.unlink(missing_ok=True)
        self._checksums.remove()

    def _read(self, shape: Shape) -> dict[str, dict[str, Any]]:
        advice = "delete the line, or the file"
        return read_json_lines(self.path, self._key, advice, growing=True, missing_ok=True, shape=shape)

    def _cut_off_half_line(self) -> None:
        with suppress(FileNotFoundError), self.path.open("r+b") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)


def rank_file(path: Path, rank: int) -> Path:
    """Where a process writes its part of `NAME.jsonl`: `NAME.rank<k>.jsonl`."""
    return path.with_name(f"{path.stem}.rank{rank}{path.suffix}")


def rank_files(path: Path) -> list[Path]:
    """The parts of `path` that processes have left."""
    return sorted(path.parent.glob(f"{path.stem}.rank*{path.suffix}"))


def read_logs(
    paths: Iterable[Path], names: Iterable[str] | None = None, key: str = "query_id"
) -> dict[str, dict[str, Any]]:
    """The complete records of all files by the id under `key`; of one id the first.

    Raises:
        ValueError: an id is none of `names` (None: any will do), or as `RecordLog.read`.
    """
    known = None if names is None else set(names)
    records: dict[str, dict[str, Any]] = {}
    for path in paths:
        for name, record in RecordLog(path, key).read().items():
            if known is not None and name not in known:
                raise ValueError(f"{path}: a record is about {name!r}, which is not asked for; delete the file")
            records.setdefault(name, record)
    return records


class RecordFile:
    """A RecordSink: `NAME.jsonl` in a folder. With `part` a process writes its own `NAME.rank<part>.jsonl`."""

    def __init__(self, folder: str | Path, key: str, part: int | None = None, name: str = "records") -> None:
        self.key = key
        self.path = Path(folder) / f"{name}.jsonl"
        self._log = RecordLog(self.path if part is None else rank_file(self.path, part), key)

    def records(self) -> dict[str, dict[str, Any]]:
        """The complete records by id, of all processes; of one id the first.

        Raises:
            ValueError: as `RecordLog.read`.
        """
        return read_logs((self.path, *rank_files(self.path)), key=self.key)

    def done(self) -> set[str]:
        """The ids of all complete records."""
        return set(self.records())

    def append(self, records: Iterable[Record]) -> None:
        """Adds records; when it returns they are on the disk."""
        self._log.append(records)

    def finish(self, ids: Sequence[str]) -> None:
        """Replaces the file, in one step, by the records of these ids in their order, then deletes the parts."""
        records = self.records()
        RecordLog(self.path, self.key).write(records[name] for name in ids if name in records)
        for part in rank_files(self.path):
            RecordLog(part).remove()


def merge_rank_files(
    path: Path,
    names: Sequence[str],
    finish: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda records: records,
) -> None:
    """Writes the records of `path` and its rank files to `path`, in the order of `names` and as `finish` makes them.

    The file is replaced in one step; the rank files are deleted after it.

    Raises:
        ValueError: a name has no record, or as `read_logs`.
    """
    parts = rank_files(path)
    records = read_logs((path, *parts), names)
    missing = [name for name in names if name not in records]
    if missing:
        raise ValueError(f"{path}: {len(missing)} of {len(names)} records are missing: {', '.join(missing[:10])}")
    RecordLog(path).write(finish([records[name] for name in names]))
    for part in parts:
        RecordLog(part).remove()


def existing_logs(output: Path) -> list[Path]:
    """The log and those of its ranks, as far as they are there."""
    return [path for path in (output, *rank_files(output)) if path.exists()]


def claim(
    path: Path, settings: Mapping[str, Any], records: Sequence[Path], kept: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Says in a small JSON file what record files are made with, or checks that it says so already.

    `settings` hold what JSON can; nested keys are named with dots. The file is written in one step, and only where no
    record exists yet. What is `kept` may differ: returns what the file has of it, or else what is given.

    Raises:
        ValueError: the records were made with other settings, or it cannot be known; names the files, and what differs.
    """
    advice = f"delete {', '.join(map(str, (*records, path)))} to start anew, or write into another folder"
    kept = dict(kept or {})
    if path.exists():
        content = read_json(path, advice, shape=dict)
        kept |= {name: content.pop(name) for name in kept if name in content}
        there, here = _flat(content), _flat(json.loads(json.dumps(settings)))
        if there != here:
            changed = [key for key in here | there if there.get(key) != here.get(key)]
            listed = ", ".join(f"{key} (was {there.get(key)!r:.40}, is {here.get(key)!r:.40})" for key in changed)
            raise ValueError(f"{path}: its records were made with other settings: {listed}; {advice}")
    elif records:
        raise ValueError(
            f"{records[0]} has records, but {path}, which says what they were made with, is gone; {advice}"
        )
    else:
        write_json(path, {**settings, **kept})
    return kept


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {key: leaf for part in value for key, leaf in _flat(value[part], f"{name}.{part}".lstrip(".")).items()}
