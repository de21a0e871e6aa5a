"""The stage that holds each query's photo against its first candidates, and orders those anew."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import torch

from diptych.contracts.news import Candidate, NewsSource
from diptych.contracts.pipelines import Failure, Result
from diptych.data.news.retrieval_file import read_retrieval, write_retrieval
from diptych.stages.news.retrieval_output import result_of, retrieval_record
from diptych.stages.running.record_stage import RecordStage
from diptych.storage.cores import usable_cores
from diptych.storage.json_files import write_json
from diptych.storage.processes import end_with_parent
from diptych.storage.record_log import RecordFile
from diptych.storage.safe_names import safe_name
from diptych.storage.whole import write_file
from diptych.verification.drawing import draw_matches
from diptych.verification.feature_cache import KeypointCache
from diptych.verification.policy import OUTCOMES, Policy, is_confirmed

log = logging.getLogger(__name__)

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")
_NUM_DRAWINGS = 3  # of queries whose first candidate is another one now, and as many of others


@dataclass(frozen=True)
class _Task:
    query_id: str
    query_path: Path
    candidates: tuple[Candidate, ...]
    paths: tuple[Path, ...]


class VerifyGeometry(RecordStage):
    """Orders the candidates of a retrieval file by geometric verification of the pictures.

    A record holds the query's `results` in their new order, with the scores of the embedding, and under `verification`
    the outcome and the measures of each candidate that was looked at; `moved` tells whether the order is a new one.
    Pictures that are absent or cannot be read are an outcome (`unreadable`), no failure: what they would decide stays
    as it was, and they are counted in `verification.json`.

    Args:
        input: A retrieval file (see `diptych.data.news.retrieval_file`).
        policy: Which candidates change places (see `diptych.verification`); None copies the order.
        query_images: The folder of the query photos, `<query_id>.jpg` (or .jpeg, .png, .webp); None to ask `source`.
        gallery_images: The folder of the candidates' pictures, `<image_id>.jpg`, likewise.
        source: News data that says where pictures lie, where folders are None.
        split: Of the source's queries.
        feature_cache: A folder that keeps what is known of each picture (see `KeypointCache`); None to keep nothing.
        num_workers: Processes; None for one a processor. Records are the same for any number.
        output: None, or where `retrieval.json` is written too.

    The records depend on the pictures as well: whoever changes pictures under the same name starts in a new folder.
    """

    record_key = "query_id"
    runtime_settings = ("input", "feature_cache", "num_workers", "output")

    def __init__(
        self,
        input: str | Path,
        policy: Policy | None,
        query_images: str | Path | None = None,
        gallery_images: str | Path | None = None,
        source: NewsSource | None = None,
        split: str | None = None,
        feature_cache: str | Path | None = None,
        num_workers: int | None = None,
        output: str | Path | None = None,
    ) -> None:
        for name, folder in (("query_images", query_images), ("gallery_images", gallery_images)):
            if folder is None and source is None and policy is not None:
                raise ValueError(f"verify_geometry: {name} is not set: name a folder, or a source and its split")
        if source is not None and query_images is None and split is None:
            raise ValueError(f"verify_geometry: split is not set: choose one of {', '.join(source.splits)}")
        self.input = Path(input)
        self.policy = policy
        self.query_images = None if query_images is None else Path(query_images)
        self.gallery_images = None if gallery_images is None else Path(gallery_images)
        self.source = source
        self.split = split
        self.feature_cache = feature_cache
        self.num_workers = num_workers
        self.output = None if output is None else Path(output)

    def input_files(self) -> Sequence[Path]:
        """The retrieval file."""
        return (self.input,)

    def output_files(self) -> Sequence[Path]:
        """`output`, if there is one."""
        return () if self.output is None else (self.output,)

    def ids(self) -> Sequence[str]:
        """The queries of the retrieval file, in its order.

        Raises:
            ValueError: as `read_retrieval`; a candidate has no article; or a folder of pictures is not there.
        """
        for query_id, candidates in self._retrieval.items():
            for candidate in candidates:
                if candidate.article_id is None:
                    raise ValueError(
                        f"{self.input}: query {query_id!r}: image {candidate.image_id!r} has no article; attach "
                        "articles first"
                    )
        for name, folder in (("query_images", self.query_images), ("gallery_images", self.gallery_images)):
            if folder is not None and not folder.is_dir():
                raise ValueError(f"verify_geometry: {name} is {folder}, which is no folder")
        return list(self._retrieval)

    def process(self, ids: Sequence[str]) -> Iterator[Result]:
        """A record for each query as soon as it is there; a Failure `bad_id` where an id can name no file."""
        if self.policy is None:
            for query_id in ids:
                yield retrieval_record(query_id, self._retrieval[query_id], moved=False)
            return
        tasks = []
        for query_id in ids:
            try:
                tasks.append(self._task(query_id, self.policy.depth))
            except ValueError as error:
                yield Failure(query_id, "bad_id", str(error))
        yield from _verify_all(KeypointCache(self.feature_cache, self.policy), tasks, self.num_workers)

    def write_output(self, folder: Path, failures: Sequence[Failure]) -> None:
        """`retrieval.json` (and `output`), `verification.json` with the counts, and pictures of matches in `matches/`.

        A query that failed keeps the order that it came with.
        """
        records = RecordFile(folder, self.record_key).records()
        retrieval = {name: _new_order(candidates, records.get(name)) for name, candidates in self._retrieval.items()}
        for path in (folder / "retrieval.json", *self.output_files()):
            write_retrieval(path, retrieval)
        counts = _counts(records, self.policy)
        write_json(folder / "verification.json", counts, indent=1)
        log.info("verification: %s of %s queries have another order", counts["moved"], counts["queries"])
        if unreadable := counts["outcomes"]["unreadable"]:
            log.warning("verification: %s candidates could not be compared: a picture is unreadable", unreadable)
        if self.policy is not None:
            self._draw(folder / "matches", records)

    @cached_property
    def _retrieval(self) -> dict[str, tuple[Candidate, ...]]:
        return read_retrieval(self.input)

    def _task(self, query_id: str, depth: int) -> _Task:
        candidates = self._retrieval[query_id]
        paths = tuple(self._gallery_path(candidate.image_id) for candidate in candidates[:depth])
        return _Task(query_id, self._query_path(query_id), candidates, paths)

    def _query_path(self, query_id: str) -> Path:
        if self.query_images is not None:
            return _find_picture(self.query_images, query_id)
        assert self.source is not None and self.split is not None
        return self.source.image_path(self.split, query_id)

    def _gallery_path(self, image_id: str) -> Path:
        if self.gallery_images is not None:
            return _find_picture(self.gallery_images, image_id)
        assert self.source is not None
        return self.source.database_image_path(image_id)

    def _draw(self, folder: Path, records: Mapping[str, Mapping[str, Any]]) -> None:
        """The query beside its first candidate, for a few queries whose first candidate is new, and a few others."""
        chosen = random.Random(0)
        folder.mkdir(exist_ok=True)
        groups: dict[str, list[str]] = {"moved": [], "kept": []}
        for query_id, candidates in self._retrieval.items():
            if query_id in records and candidates:
                first = records[query_id]["results"][0]["image_id"]
                groups["kept" if first == candidates[0].image_id else "moved"].append(query_id)
        for group, queries in groups.items():
            for query_id in sorted(chosen.sample(queries, min(_NUM_DRAWINGS, len(queries)))):
                image_id = records[query_id]["results"][0]["image_id"]
                drawing = draw_matches(self._query_path(query_id), self._gallery_path(image_id))
                if drawing is not None:
                    _, data = cv2.imencode(".png", drawing)
                    write_file(folder / f"{group}_{safe_name(query_id)}_{safe_name(image_id)}.png", data.tobytes())


def _find_picture(folder: Path, name: str) -> Path:
    """The picture of that name in the folder; where there is none, the path that it should have."""
    if name != Path(name).name or "\0" in name:
        raise ValueError(f"{name!r} cannot be the name of a picture in {folder}")
    paths = [folder / f"{name}{suffix}" for suffix in _SUFFIXES]
    return next((path for path in paths if os.path.isfile(path)), paths[0])  # noqa: PTH113  also of too long a name


def _verify_all(cache: KeypointCache, tasks: Sequence[_Task], num_workers: int | None) -> Iterator[dict[str, Any]]:
    num_workers = min(num_workers or usable_cores(), len(tasks))
    if num_workers <= 1:
        yield from (_verify(cache, task) for task in tasks)
        return
    # spawn: a fork of a process that already runs threads (torch, OpenCV) can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, context, initializer=_use_one_thread) as pool:
        try:
            for future in as_completed([pool.submit(_verify, cache, task) for task in tasks]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _use_one_thread() -> None:
    end_with_parent()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _verify(cache: KeypointCache, task: _Task) -> dict[str, Any]:
    query = cache.describe(task.query_path)
    # Without the query there is nothing to compare: the candidates' pictures are not even read.
    seen = [None if query is None else cache.describe(path) for path in task.paths]
    scores = [candidate.score for candidate in task.candidates[: len(seen)]]
    verdict = cache.policy.rerank(query, seen, scores)
    results = [
        {**result_of(task.candidates[position]), "verification": verdict.findings[position].to_json()}
        for position in verdict.order
    ]
    results += [result_of(candidate) for candidate in task.candidates[len(seen) :]]
    return {"query_id": task.query_id, "results": results, "moved": verdict.moved}


def _new_order(candidates: Sequence[Candidate], record: Mapping[str, Any] | None) -> Sequence[Candidate]:
    if record is None:
        return candidates
    by_image = {candidate.image_id: candidate for candidate in candidates}
    return [by_image[result["image_id"]] for result in record["results"]]


def _counts(records: Mapping[str, Mapping[str, Any]], policy: Policy | None) -> dict[str, Any]:
    """`fell_back` are the queries whose order is that of the embeddings for want of anything better to go by."""
    findings = {
        name: [result["verification"] for result in record["results"] if "verification" in result]
        for name, record in records.items()
    }
    found = Counter(finding["outcome"] for of_query in findings.values() for finding in of_query)
    moved = sum(record["moved"] for record in records.values())
    fell_back = 0
    if policy is not None:
        kept = (of_query for name, of_query in findings.items() if not records[name]["moved"])
        fell_back = sum(not is_confirmed(of_query, policy.min_inliers) for of_query in kept)
    outcomes = {outcome: found[outcome] for outcome in OUTCOMES}
    return {"queries": len(records), "moved": moved, "fell_back": fell_back, "outcomes": outcomes}
