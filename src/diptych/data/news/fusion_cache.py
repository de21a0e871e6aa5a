"""Prepared fusion examples on disk: token ids that are mapped into memory, and a JSON line a photo."""

from __future__ import annotations

import json
import logging
import shutil
import zlib
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
from diptych.storage.arrays import map_array
from diptych.storage.checksums import Damaged
from diptych.storage.file_lock import locked
from diptych.storage.folder_checksums import check_files, read_checksums, write_checksums
from diptych.storage.json_files import each_json_line, json_lines, read_json
from diptych.storage.key import key_of
from diptych.storage.line_checksums import LineChecksums
from diptych.storage.whole import remove_unfinished, whole_folder

log = logging.getLogger(__name__)

EXAMPLES = "examples.npy"
_READ_WHOLE = (EXAMPLES, "query_ids.json", "gaps.json", "queries.jsonl", "settings.json")


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """One photo with everything its prompt was made of. `prompt_ids` is the prompt, `completion_ids` one list for each
    reference caption. `gaps` names what was missing: `no_article`, `article_not_in_database`, `empty_article`,
    `no_base_caption`; or was not read, or found no room: `long_article`, `long_title`, `long_base_caption`,
    `no_evidence`. `target_words` is the length of the caption where each photo has its own.
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

    What is read at once is compared with its checksum then, an example's tokens whenever it is asked for; folders that
    earlier versions left have no checksums.

    Raises:
        ValueError: the folder is damaged; names the file. Reading from it later may raise the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._advice = f"delete {folder}, and the prompts are prepared again"
        self._checksums = read_checksums(folder, self._advice)
        spans, self._tokens = self._open()
        self._spans = spans
        self.completion_lengths = spans[:, 3]
        self.lengths = spans[:, 2] + spans[:, 3]
        self.first_examples = np.unique(spans[:, 0], return_index=True)[1]

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, position: int) -> FusionExample:
        photo, start, num_prompt, num_completion, *checksum = self._spans[position]
        tokens = self._tokens[start : start + num_prompt + num_completion]
        if checksum and zlib.crc32(tokens.tobytes()) != checksum[0]:
            raise self._damaged("tokens.npy", f"the tokens of example {position} are not those that were written")
        ids = tokens.tolist()
        return FusionExample(self.query_ids[photo], tuple(ids[:num_prompt]), tuple(ids[num_prompt:]))

    def __reduce__(self) -> tuple:
        return type(self), (self.folder,)

    @cached_property
    def query_ids(self) -> list[str]:
        """The photos' ids, in the order of the split."""
        query_ids = self._json("query_ids.json")
        if not isinstance(query_ids, list) or not all(isinstance(one, str) for one in query_ids):
            raise self._damaged("query_ids.json", "it lists no ids")
        if len(query_ids) <= self._spans[:, 0].max(initial=-1):
            raise self._damaged("query_ids.json", "it has fewer photos than examples.npy")
        return query_ids

    @property
    def gaps(self) -> dict[str, int]:
        """How many photos lack something, by what they lack."""
        gaps = self._json("gaps.json")
        if not isinstance(gaps, dict):
            raise self._damaged("gaps.json", "it counts no gaps")
        return gaps

    def queries(self) -> Iterator[PreparedQuery]:
        """Everything about each photo, in the order of the split, one at a time."""
        self._check("queries.jsonl")
        for where, record in each_json_line(self.folder / "queries.jsonl", self._advice):
            yield _query(where, record, self._advice)

    def check(self) -> int:
        """Reads everything; returns the number of examples. ValueError if anything is damaged."""
        check_files(self.folder, self._checksums, _READ_WHOLE, self._advice)
        for position in range(len(self)):
            self[position]
        return len(self)

    def _open(self) -> tuple[np.ndarray, np.ndarray]:
        """Spans (N, 5), of earlier versions (N, 4): photo, start, prompt tokens, completion tokens, CRC-32 of both;
        and all tokens (T,).
        """
        self._check(EXAMPLES)
        try:
            spans = np.array(map_array(self.folder / EXAMPLES, (None, None), "int64"))
            tokens = map_array(self.folder / "tokens.npy", (None,), "int32")
        except Damaged as error:
            raise Damaged(f"{error}; {self._advice}") from None
        if spans.shape[1] not in (4, 5) or (self._checksums and spans.shape[1] == 4) or (spans < 0).any():
            raise self._damaged(EXAMPLES, f"it holds no spans, but numbers of the shape {spans.shape}")
        ends = spans[:, 1].astype(np.float64) + spans[:, 2] + spans[:, 3]  # which cannot overflow
        if ends.max(initial=0) > len(tokens):
            raise self._damaged("tokens.npy", "an example lies beyond its end")
        return spans, tokens

    def _json(self, name: str) -> Any:
        self._check(name)
        return read_json(self.folder / name, self._advice)

    def _check(self, name: str) -> None:
        check_files(self.folder, self._checksums, [name], self._advice)

    def _damaged(self, name: str, reason: str) -> Damaged:
        return Damaged(f"{self.folder / name} is damaged ({reason}); {self._advice}")


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


def _query(where: str, record: Any, advice: str) -> PreparedQuery:
    try:
        return from_record(record)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}: no prepared photo ({error!r}); {advice}") from None


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
) -> list[tuple[Path, int]]:
    """The blocks' files, each with the number of its photos."""
    partial.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    blocks = []
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=num_queries)
        for start in range(0, num_queries, block):
            stop = min(start + block, num_queries)
            path = partial / f"{start:08d}-{stop:08d}.jsonl"
            if not path.is_file():
                LineChecksums(path).replace_lines(json_lines(map(asdict, prepare(start, stop))))
            blocks.append((path, stop - start))
            progress.update(task, completed=stop)
    return blocks


def _finish(final: Path, blocks: Sequence[tuple[Path, int]], settings: dict[str, Any]) -> None:
    """One folder of all blocks, and the blocks away."""
    remove_unfinished(final.parent, final.name)
    spans: list[tuple[int, int, int, int, int]] = []
    query_ids: list[str] = []
    gaps: Counter[str] = Counter()
    position = 0
    with whole_folder(final) as temporary:
        with (temporary / "queries.jsonl").open("wb") as lines, (temporary / "ids").open("wb") as tokens:
            for path, num_photos in blocks:
                before = len(query_ids)
                advice = f"delete {path}, and its photos are prepared again"
                for query in (_query(where, record, advice) for where, record in each_json_line(path, advice)):
                    for completion in query.completion_ids or ((),):
                        ids = np.asarray(query.prompt_ids + completion, dtype=np.int32).tobytes()
                        sizes = len(query.prompt_ids), len(completion)
                        spans.append((len(query_ids), position, *sizes, zlib.crc32(ids)))
                        tokens.write(ids)
                        position += sum(sizes)
                    query_ids.append(query.query_id)
                    gaps.update(query.gaps)
                if len(query_ids) - before != num_photos:
                    raise ValueError(f"{path} has {len(query_ids) - before} photos of {num_photos}; {advice}")
                lines.write(path.read_bytes())
        np.save(temporary / "tokens.npy", np.fromfile(temporary / "ids", dtype=np.int32))
        (temporary / "ids").unlink()
        np.save(temporary / EXAMPLES, np.asarray(spans, dtype=np.int64).reshape(-1, 5))
        (temporary / "query_ids.json").write_text(json.dumps(query_ids))
        (temporary / "gaps.json").write_text(json.dumps(gaps))
        (temporary / "settings.json").write_text(json.dumps(settings, indent=2, sort_keys=True))
        write_checksums(temporary, _READ_WHOLE)
    shutil.rmtree(final.with_suffix(".partial"))
    if gaps:
        log.warning("%s: of %d photos, %s", final, len(query_ids), ", ".join(f"{n} {gap}" for gap, n in gaps.items()))
