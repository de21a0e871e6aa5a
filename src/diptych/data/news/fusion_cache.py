"""Prepared fusion examples on disk: token ids that are mapped into memory, and a JSON line a photo."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import Dataset

from diptych.contracts.news import Chunk, Evidence, FusionExample, KeyFacts
from diptych.storage.file_lock import locked
from diptych.storage.settings_key import key_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """One photo with everything its prompt was made of. `prompt_ids` is the prompt, `completion_ids` one list for each
    reference caption. `gaps` names what was missing: `no_article`, `article_not_in_database`, `empty_article`,
    `no_base_caption`.
    """

    query_id: str
    base_caption: str
    evidence: Evidence
    reference_captions: tuple[str, ...]
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[tuple[int, ...], ...]
    gaps: tuple[str, ...] = ()


class FusionData(Dataset):
    """The examples of a split, read from a folder that `open_or_prepare` left; one for each photo and reference
    caption, or one for each photo where answers are hidden. Token ids stay on disk until asked for.

    `lengths` (N,) are the examples' tokens, prompt and completion, `completion_lengths` (N,) the completions' alone;
    `first_examples` (photos,) the position of each photo's first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spans = np.load(folder / "examples.npy")  # (N, 4): photo, start, prompt tokens, completion tokens
        self._spans = spans
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self.completion_lengths = spans[:, 3]
        self.lengths = spans[:, 2] + spans[:, 3]
        self.first_examples = np.unique(spans[:, 0], return_index=True)[1]

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, position: int) -> FusionExample:
        photo, start, num_prompt, num_completion = self._spans[position]
        ids = self._tokens[start : start + num_prompt + num_completion].tolist()
        return FusionExample(self.query_ids[photo], tuple(ids[:num_prompt]), tuple(ids[num_prompt:]))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])

    @cached_property
    def query_ids(self) -> list[str]:
        """The photos' ids, in the order of the split."""
        return json.loads((self.folder / "query_ids.json").read_text())

    @property
    def gaps(self) -> dict[str, int]:
        """How many photos lack something, by what they lack."""
        return json.loads((self.folder / "gaps.json").read_text())

    def queries(self) -> Iterator[PreparedQuery]:
        """Everything about each photo, in the order of the split, one at a time."""
        with (self.folder / "queries.jsonl").open(encoding="utf-8") as file:
            for line in file:
                yield from_json(line)


def open_or_prepare(
    folder: Path,
    settings: dict[str, Any],
    num_queries: int,
    prepare: Callable[[int, int], list[PreparedQuery]],
    block: int = 256,
    title: str = "preparing",
) -> FusionData:
    """The examples made under these settings; makes them block by block with `prepare(start, stop)` if they are not
    there, with a progress bar. A killed preparation goes on with the block it was at; the folder appears in one step,
    complete; of several processes one prepares and the others wait.

    Raises:
        ValueError: the folder cannot be written, or as `prepare`.
    """
    final = folder / key_of(settings)
    if (final / "settings.json").is_file():
        return FusionData(final)
    with _only_writer(final):
        if not (final / "settings.json").is_file():
            blocks = _prepare_blocks(final.with_suffix(".partial"), num_queries, prepare, block, title)
            _finish(final, blocks, settings)
    return FusionData(final)


def to_json(query: PreparedQuery) -> str:
    """A line that `from_json` reads."""
    return json.dumps(asdict(query), ensure_ascii=False)


def from_json(line: str) -> PreparedQuery:
    """The photo of a line."""
    data = json.loads(line)
    evidence = data["evidence"]
    return PreparedQuery(
        query_id=data["query_id"],
        base_caption=data["base_caption"],
        evidence=Evidence(
            **{
                **evidence,
                "chunks": tuple(Chunk(**chunk) for chunk in evidence["chunks"]),
                "facts": KeyFacts(**{name: tuple(values) for name, values in evidence["facts"].items()}),
            }
        ),
        reference_captions=tuple(data["reference_captions"]),
        prompt_ids=tuple(data["prompt_ids"]),
        completion_ids=tuple(tuple(ids) for ids in data["completion_ids"]),
        gaps=tuple(data["gaps"]),
    )


def _prepare_blocks(
    partial: Path, num_queries: int, prepare: Callable[[int, int], list[PreparedQuery]], block: int, title: str
) -> list[Path]:
    partial.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    paths = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=num_queries)
        for start in range(0, num_queries, block):
            stop = min(start + block, num_queries)
            path = partial / f"{start:08d}-{stop:08d}.jsonl"
            if not path.is_file():
                _write(path, "".join(f"{to_json(query)}\n" for query in prepare(start, stop)))
            paths.append(path)
            progress.update(task, completed=stop)
    return paths


def _finish(final: Path, blocks: Sequence[Path], settings: dict[str, Any]) -> None:
    """One folder of all blocks, and the blocks away."""
    temporary = final.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    spans, query_ids, gaps, position = [], [], {}, 0
    with (temporary / "queries.jsonl").open("w", encoding="utf-8") as lines, (temporary / "ids").open("wb") as tokens:
        for path in blocks:
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
                query = from_json(line)
                for completion in query.completion_ids or ((),):
                    spans.append((len(query_ids), position, len(query.prompt_ids), len(completion)))
                    tokens.write(np.asarray(query.prompt_ids + completion, dtype=np.int32).tobytes())
                    position += len(query.prompt_ids) + len(completion)
                query_ids.append(query.query_id)
                for gap in query.gaps:
                    gaps[gap] = gaps.get(gap, 0) + 1
                lines.write(f"{line}\n")
    np.save(temporary / "tokens.npy", np.fromfile(temporary / "ids", dtype=np.int32))
    (temporary / "ids").unlink()
    np.save(temporary / "examples.npy", np.asarray(spans, dtype=np.int64))
    _write(temporary / "query_ids.json", json.dumps(query_ids))
    _write(temporary / "gaps.json", json.dumps(gaps))
    _write(temporary / "settings.json", json.dumps(settings, indent=2, sort_keys=True))
    temporary.replace(final)
    shutil.rmtree(final.with_suffix(".partial"))
    if gaps:
        log.warning("%s: of %d photos, %s", final, len(query_ids), ", ".join(f"{n} {gap}" for gap, n in gaps.items()))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def _only_writer(final: Path) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(locked(final.with_suffix(".lock")))
        except OSError as error:
            raise ValueError(
                f"{final.parent} cannot be written to ({error.strerror}); name another folder: data.cache"
            ) from None
        yield
