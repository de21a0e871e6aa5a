"""Prepared fusion examples on disk: token ids that are mapped into memory, and a JSON line a photo."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from diptych.storage.json_files import each_json_line, read_json, write_json_lines
from diptych.storage.key import key_of
from diptych.storage.whole import remove_unfinished, whole_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """One photo with everything its prompt was made of. `prompt_ids` is the prompt, `completion_ids` one list for each
    reference caption. `gaps` names what was missing: `no_article`, `article_not_in_database`, `empty_article`,
    `no_base_caption`; or was not read, or found no room: `long_article`, `long_title`, `no_evidence`. `target_words` is
    the length of the caption where each photo has its own.
    """

    query_id: str
    base_caption: str
    evidence: Evidence
    reference_captions: tuple[str, ...]
    prompt_ids: tuple[int, ...]
    completion_ids: tuple[tuple[int, ...], ...]
    gaps: tuple[str, ...] = ()
    target_words: int | None = None


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

    def __reduce__(self) -> tuple:
        return type(self), (self.folder,)

    @cached_property
    def query_ids(self) -> list[str]:
        """The photos' ids, in the order of the split."""
        return read_json(self.folder / "query_ids.json")

    @property
    def gaps(self) -> dict[str, int]:
        """How many photos lack something, by what they lack."""
        return read_json(self.folder / "gaps.json")

    def queries(self) -> Iterator[PreparedQuery]:
        """Everything about each photo, in the order of the split, one at a time."""
        for _, record in each_json_line(self.folder / "queries.jsonl"):
            yield from_record(record)


def open_or_prepare(
    folder: Path,
    settings: dict[str, Any],
    num_queries: int,
    prepare: Callable[[int, int], list[PreparedQuery]],
    block: int = 256,
    title: str = "preparing",
) -> FusionData:
    """The examples made under these settings; makes them block by block with `prepare(start, stop)` if they are not
    there, with a progress bar. A killed preparation resumes with the block it had reached; the folder appears in one
    step, complete; of several processes one prepares and the others wait.

    Raises:
        ValueError: the folder cannot be written, or as `prepare`.
    """
    final = folder / key_of(settings)
    if (final / "settings.json").is_file():
        return FusionData(final)
    with locked(final.with_suffix(".lock"), advice="name another folder: data.cache"):
        if not (final / "settings.json").is_file():
            blocks = _prepare_blocks(final.with_suffix(".partial"), num_queries, prepare, block, title)
            _finish(final, blocks, settings)
    return FusionData(final)


def from_record(data: Mapping[str, Any]) -> PreparedQuery:
    """The photo that a record of its fields, as JSON holds them, describes."""
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
        target_words=data.get("target_words"),
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
                write_json_lines(path, map(asdict, prepare(start, stop)))
            paths.append(path)
            progress.update(task, completed=stop)
    return paths


def _finish(final: Path, blocks: Sequence[Path], settings: dict[str, Any]) -> None:
    """One folder of all blocks, and the blocks away."""
    remove_unfinished(final.parent, final.name)
    spans: list[tuple[int, int, int, int]] = []
    query_ids: list[str] = []
    gaps: Counter[str] = Counter()
    position = 0
    with whole_folder(final) as temporary:
        with (temporary / "queries.jsonl").open("wb") as lines, (temporary / "ids").open("wb") as tokens:
            for path in blocks:
                lines.write(path.read_bytes())
                for query in (from_record(record) for _, record in each_json_line(path)):
                    for completion in query.completion_ids or ((),):
                        spans.append((len(query_ids), position, len(query.prompt_ids), len(completion)))
                        tokens.write(np.asarray(query.prompt_ids + completion, dtype=np.int32).tobytes())
                        position += len(query.prompt_ids) + len(completion)
                    query_ids.append(query.query_id)
                    gaps.update(query.gaps)
        np.save(temporary / "tokens.npy", np.fromfile(temporary / "ids", dtype=np.int32))
        (temporary / "ids").unlink()
        np.save(temporary / "examples.npy", np.asarray(spans, dtype=np.int64))
        (temporary / "query_ids.json").write_text(json.dumps(query_ids))
        (temporary / "gaps.json").write_text(json.dumps(gaps))
        (temporary / "settings.json").write_text(json.dumps(settings, indent=2, sort_keys=True))
    shutil.rmtree(final.with_suffix(".partial"))
    if gaps:
        log.warning("%s: of %d photos, %s", final, len(query_ids), ", ".join(f"{n} {gap}" for gap, n in gaps.items()))
