"""Scoring captions against the reference captions of a split, and the record of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diptych.contracts.news import CaptionItem, NewsQuery
from diptych.contracts.retrieval import MetricMeaning
from diptych.metrics.captions.caption_metric import CaptionMetric
from diptych.metrics.captions.caption_scores import CaptionScores
from diptych.ranking.known_ids import with_known_keys
from diptych.results.record import EvaluationRecord

_SHOWN_IDS = 10
_OF_PHOTO_OR_EVIDENCE = ("clip_score", "clip_score_windowed", "unsupported_entity_rate")


def caption_items(
    predictions: Mapping[str, str], queries: Sequence[NewsQuery], image_path: Callable[[str], Path]
) -> list[CaptionItem]:
    """The captions of a file with what the split knows of their queries; `image_path` names a query's photo.

    Raises:
        ValueError: a query has no prediction, or a prediction no query; the ids are listed.
    """
    expected = {query.query_id for query in queries}
    predictions = with_known_keys(predictions, [query.query_id for query in queries], "captions")
    if absent := sorted(expected - predictions.keys()):
        listed = ", ".join(absent[:_SHOWN_IDS]) + (", ..." if len(absent) > _SHOWN_IDS else "")
        raise ValueError(f"{len(absent)} of {len(expected)} queries have no caption in the prediction file: {listed}")
    return [
        CaptionItem(
            query_id=query.query_id,
            caption=predictions[query.query_id],
            reference_captions=query.reference_captions,
            image_path=image_path(query.query_id),
        )
        for query in queries
    ]


def score_captions(items: Sequence[CaptionItem], metrics: Mapping[str, CaptionMetric]) -> dict[str, CaptionScores]:
    """The metrics of all items together, by the metrics' names.

    Raises:
        ValueError: an item lacks what a metric needs (a reference, evidence, a photo), or as the metrics; or a metric
            gives values for other queries.
    """
    scores = {}
    for name, metric in metrics.items():
        metric.reset()
        metric.update(items)
        scores[name] = metric.compute()
        strangers = set(scores[name].query_ids) - {item.query_id for item in items}
        if strangers:
            raise ValueError(
                f"metric {name} gives values for {len(strangers)} queries that it was not asked about, such as "
                f"{min(strangers)!r}: its query_ids must be those of its items"
            )
    return scores


def reference_scores(items: Sequence[CaptionItem], metrics: Mapping[str, CaptionMetric]) -> dict[str, float]:
    """What the first reference of each item is worth as a caption, `reference/<name>` by metric, of those metrics that
    compare a caption with its photo or its evidence: what captions are held against. Items without references count for
    nothing.

    Raises:
        ValueError: as the metrics.
    """
    written = [replace(item, caption=item.reference_captions[0]) for item in items if item.reference_captions]
    if not written:
        return {}
    found = score_captions(written, {name: metrics[name] for name in metrics if name in _OF_PHOTO_OR_EVIDENCE})
    return {f"reference/{name}": value for scores in found.values() for name, value in scores.corpus.items()}


def captions_record(
    scores: Mapping[str, CaptionScores],
    items: Sequence[CaptionItem],
    with_predictions: bool = True,
    **origin: Any,
) -> EvaluationRecord:
    """What the metrics say of the items; `origin` gives experiment, data, split, checkpoint, seed and world_size. A
    value that does not apply, such as the precision of a caption that names nothing, is NaN.

    The predictions, sorted by query id, hold every caption with its own values; without `with_predictions`, they are
    on the disk already. Without any scores, as where the answers are hidden, nothing was scored.

    Raises:
        ValueError: two metrics give values of one name.
    """
    first = next(iter(scores.values()), None)
    metrics, meanings = _corpus_values(scores)
    values = _values_per_query(scores)
    captions = {item.query_id: item.caption for item in items}
    predictions = [
        {"query_id": query_id, "caption": captions[query_id], **values[query_id]}
        for query_id in (first.query_ids if first else sorted(captions))
    ]
    return EvaluationRecord(
        origin,
        num_scored=first.num_items if first else 0,
        num_expected=len(items),
        metrics=metrics,
        meanings=meanings,
        references_per_item=first.references_per_item if first else None,
        lines={name: of_metric.describe() for name, of_metric in scores.items()},
        values=[{"query_id": item.query_id, **values[item.query_id]} for item in items] if scores else (),
        predictions=predictions if with_predictions else None,
    )


def _corpus_values(scores: Mapping[str, CaptionScores]) -> tuple[dict[str, float], dict[str, MetricMeaning]]:
    metrics: dict[str, float] = {}
    meanings: dict[str, MetricMeaning] = {}
    for name, of_metric in scores.items():
        repeated = sorted(metrics.keys() & of_metric.corpus.keys())
        if repeated:
            again = f"gives {repeated[0]}, which another one gives too"
            raise ValueError(f"the metric {name} {again}; leave one of them out")
        metrics |= of_metric.corpus
        meanings |= of_metric.meanings
    return metrics, meanings


def _values_per_query(scores: Mapping[str, CaptionScores]) -> dict[str, dict[str, float]]:
    """By query id, with six decimals."""
    values: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for of_metric in scores.values():
        for name, column in of_metric.per_item.items():
            for query_id, value in zip(of_metric.query_ids, column, strict=True):
                values[query_id][name] = round(float(value), 6)
    return values
