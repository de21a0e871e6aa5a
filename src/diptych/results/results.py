"""The record of a retrieval: of one evaluation set, or of several."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from diptych.contracts.retrieval import RankedQuery
from diptych.metrics.retrieval.measuring import AVERAGE, SetResult, all_meanings, summary
from diptych.ranking.short_lists import ShortLists, said_of_short
from diptych.results.record import EvaluationRecord
from diptych.results.signatures import retrieval_signatures


def retrieval_record(results: Sequence[SetResult], **origin: Any) -> EvaluationRecord:
    """What was found in the sets; `origin` gives experiment, data, split, checkpoint, seed and world_size.

    With several evaluation sets the counts are sums and the gallery's hash covers all of them. A query's values are
    those of the metrics that apply to it, `average` included; the rank of a target that was not found is infinite.
    """
    gallery_ids = [image_id for result in results for image_id in result.gallery_ids]
    bounds = {
        key if len(results) == 1 else f"{result.name}/{key}": value
        for result in results
        for key, value in result.bounds.items()
    }
    record = EvaluationRecord(
        origin,
        num_scored=sum(len(result.ranked) for result in results),
        num_expected=sum(len(result.queries) for result in results),
        metrics=summary(results),
        meanings=all_meanings(results),
        protocol=_protocol(results),
        gallery={
            "size": len(gallery_ids) or None,  # a prediction file is scored without reading the gallery
            "sha256": gallery_fingerprint(gallery_ids) if gallery_ids else None,
        },
        intervals=bounds,
        aspect_queries={
            aspect if len(results) == 1 else f"{result.name}/{aspect}": number
            for result in results
            for aspect, number in _aspect_queries(result).items()
        },
        counts=_counts(results),
        values=[line for result in results for line in _values(result, _set_name(results, result))],
        predictions=[_prediction(ranked, _set_name(results, result)) for result in results for ranked in result.ranked],
    )
    short = _short_lists(results)
    record.short_lists = {name: {"lists": of.number, "shortest": of.shortest} for name, of in short.items()}
    record.signatures = [
        *retrieval_signatures(record.content()),
        *_said_of_absent(results),
        *said_of_short(short, record.num_scored),
    ]
    return record


def _short_lists(results: Sequence[SetResult]) -> dict[str, ShortLists]:
    """By key of metrics.json; of several sets those of each, and those of all together under the plain name."""
    if len(results) == 1:
        return dict(results[0].short)
    found: dict[str, ShortLists] = {}
    for result in results:
        for name, short in result.short.items():
            found[name] = found[name].joined(short) if name in found else short
    return found | {f"{result.name}/{name}": short for result in results for name, short in result.short.items()}


def _said_of_absent(results: Sequence[SetResult]) -> Iterator[str]:
    """Which metrics have no number, and why, a sentence for each reason."""
    by_reason: dict[str, list[str]] = {}
    for result in results:
        for name, reason in result.absent.items():
            by_reason.setdefault(reason, []).append(name if len(results) == 1 else f"{result.name}/{name}")
    for reason, names in by_reason.items():
        yield f"Without a number: {', '.join(names)}, as {reason}."


def _protocol(results: Sequence[SetResult]) -> dict[str, Any]:
    """That of the first set, the lines of all, and what any of them leaves out (`[<set>/]<metric>`)."""
    content = asdict(results[0].protocol)
    del content["left_out"]
    left_out = [
        f"{result.name}/{name}" if len(results) > 1 else name for result in results for name in result.protocol.left_out
    ]
    content |= {"left_out": left_out} if left_out else {}
    return {**content, "line": "; ".join(result.protocol.describe() for result in results)}


def gallery_fingerprint(image_ids: Sequence[str]) -> str:
    """SHA-256 over the gallery's ids in order, a line each: equal for the same gallery on any machine."""
    return hashlib.sha256("".join(f"{image_id}\n" for image_id in image_ids).encode()).hexdigest()


def _aspect_queries(result: SetResult) -> dict[str, int]:
    """How many of the ranked queries are behind each aspect's figures, and behind those of each part of the audit of
    composition; empty where none are reported.
    """
    found: Counter[str] = Counter()
    if result.metrics and result.protocol.aspect_metrics:
        found.update(aspect for query in result.ranked for aspect in query.aspects)
    for name, metric in result.values.items():
        aspect = name.partition("/")[2]
        if aspect and aspect not in found:
            found[aspect] = int((~metric.values.isnan()).sum())
    return dict(found)


def _counts(results: Sequence[SetResult]) -> dict[str, int] | None:
    """How many queries have their own reference in the first place, unless it is left out of all rankings, and what the
    sets themselves have counted; None where that is nothing.
    """
    found: Counter[str] = Counter()
    for result in results:
        found.update(result.counts)
    whole = [result for result in results if result.metrics and result.protocol.candidates == "gallery"]
    staying = [result for result in whole if not result.protocol.exclude_reference]
    references = [{query.query_id: query.reference_image for query in result.queries} for result in staying]
    leading = sum(
        ranked.ranked_ids[:1] == (of.get(ranked.query_id),)
        for result, of in zip(staying, references, strict=True)
        for ranked in result.ranked
    )
    return {**found, **({"reference_first": leading} if staying else {})} or None


def _set_name(results: Sequence[SetResult], result: SetResult) -> dict[str, str]:
    """How a line per query begins: with its set, where there are several."""
    return {} if len(results) == 1 else {"set": result.name}


def _prediction(ranked: RankedQuery, set_name: Mapping[str, str]) -> dict[str, Any]:
    record = {
        **set_name,
        "query_id": ranked.query_id,
        "ranked_ids": list(ranked.ranked_ids),
        "scores": [round(score, 6) for score in ranked.scores],
        "target_rank": ranked.target_rank,
    }
    return {**record, "subset_ids": list(ranked.subset_ids)} if ranked.subset_ids else record


def _values(result: SetResult, set_name: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A line for each query, in the order of the set's queries; none where nothing was measured."""
    columns = {name: metric.values.tolist() for name, metric in result.values.items()}
    averaged = result.protocol.average_of
    for row, ranked in enumerate(result.ranked if columns else ()):
        values = {name: column[row] for name, column in columns.items() if not math.isnan(column[row])}
        if averaged and all(name in values for name in averaged):
            values[AVERAGE] = sum(values[name] for name in averaged) / len(averaged)
        yield {**set_name, "query_id": ranked.query_id, **values}
