"""Tables with pictures in them: Parquet files, and folders of Hugging Face datasets. Rows are read one batch at a time,
and no picture is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.extras import require

_BATCH = 64  # rows in memory
_SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}
_SPLIT_OF_FILE = re.compile(rf"({'|'.join(_SPLITS)})(?![a-z0-9])")


@dataclass(frozen=True)
class PackedTable:
    """What a table holds: its `columns`, `num_rows` of all splits, and the folder that paths in it are relative to.

    `parts` are its datasets by split; an empty name where it has no splits.
    """

    path: Path
    folder: Path
    columns: tuple[str, ...]
    num_rows: int
    parts: dict[str, Any]

    def rows(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Each row with its place, for errors, and its split. Pictures are bytes, or `{"bytes", "path"}`."""
        for split, part in self.parts.items():
            number = 0
            for batch in part.with_format("arrow").iter(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{self.path}, {f'split {split}, ' if split else ''}row {number}", split, row


def open_packed(path: Path) -> PackedTable:
    """A Parquet file; a folder of such files, whose names or folders begin with their split (`train-00000-of-00001`);
    or a folder that `datasets.save_to_disk` wrote. A table of a single split, `train`, counts as one without splits.

    Raises:
        ValueError: it is none of these, cannot be read, or has a split that is neither train, val nor test.
    """
    require("datasets")
    import datasets

    if not path.exists():
        raise ValueError(f"{path}: there is no such file or folder")
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            loaded = datasets.load_from_disk(str(path))
            named = dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"": loaded}
            num_rows = sum(len(part) for part in named.values())
        else:
            named, num_rows = _of_parquet(path)
        parts = _with_our_splits(path, named)
        columns = tuple(dict.fromkeys(name for part in parts.values() for name in part.column_names))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    return PackedTable(path, path if path.is_dir() else path.parent, columns, num_rows, parts)


def _of_parquet(path: Path) -> tuple[dict[str, Any], int]:
    import datasets
    import pyarrow.parquet

    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"{path}: no Parquet files in it, and datasets.save_to_disk has not written it")
    by_split: dict[str, list[Path]] = {}
    for file in files:
        names = (*file.relative_to(path).parts[:-1], file.stem) if path.is_dir() else ()
        found = next((match[1] for name in reversed(names) if (match := _SPLIT_OF_FILE.match(name))), "")
        by_split.setdefault(found, []).append(file)
    if len(by_split) > 1 and "" in by_split:
        raise ValueError(
            f"{path}: of {by_split[''][0].name} it is not clear what split it is; name it train-, or take it away"
        )
    num_rows = sum(pyarrow.parquet.read_metadata(file).num_rows for file in files)
    return {split: _streamed(datasets, of_split) for split, of_split in by_split.items()}, num_rows


def _streamed(datasets: Any, files: list[Path]) -> Any:
    """The rows of Parquet files, which are read where they lie: no second copy in a cache."""
    return datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train", streaming=True)


def _with_our_splits(path: Path, named: dict[str, Any]) -> dict[str, Any]:
    if list(named) in ([""], ["train"]):
        return dict.fromkeys([""], *named.values())
    parts: dict[str, Any] = {}
    for name, part in named.items():
        split = _SPLITS.get(name)
        if split is None or split in parts:
            raise ValueError(
                f"{path}: a split is called {name!r}; rename or drop it: train, validation and test are read"
            )
        parts[split] = part
    return parts
