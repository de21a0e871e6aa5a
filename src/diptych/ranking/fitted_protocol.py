"""What of a protocol a split can be measured by: metrics whose K is larger than what is ranked say nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from diptych.contracts.retrieval import EvaluationProtocol, Query
from diptych.ranking.candidates import num_ranked

_AT_K = re.compile(r"_at_(\d+)$")


def fitted(protocol: EvaluationProtocol, queries: Sequence[Query], num_gallery: int) -> EvaluationProtocol:
    """The protocol with the K that fit, and `left_out` naming the metrics of the others: a K beyond the images of the
    gallery or of the smallest group of candidates, or beyond the other members of the smallest group of look-alikes
    (there everything would be found); `average` goes with a part of it.
    """
    num_images = num_ranked(protocol, queries, num_gallery)
    num_members = min((len(q.group_member_ids) - 1 for q in queries if q.group_member_ids), default=num_gallery)
    fitting = replace(
        protocol,
        recall_ks=tuple(k for k in protocol.recall_ks if k <= num_images),
        map_ks=tuple(k for k in protocol.map_ks if k <= num_images),
        subset_ks=tuple(k for k in protocol.subset_ks if k <= num_members),
    )
    if fitting == protocol:
        return protocol
    left_out = [name for name in _metrics(protocol) if name not in _metrics(fitting)]
    average_of = () if set(protocol.average_of) & set(left_out) else protocol.average_of
    return replace(
        fitting,
        average_of=average_of,
        aspect_metrics=tuple(name for name in protocol.aspect_metrics if name not in left_out),
        left_out=(*left_out, *(["average"] if average_of != protocol.average_of else [])),
    )


def _metrics(protocol: EvaluationProtocol) -> list[str]:
    ks = {"recall_at": protocol.recall_ks, "map_at": protocol.map_ks, "recall_subset_at": protocol.subset_ks}
    return [f"{name}_{k}" for name, of_name in ks.items() for k in of_name]


def beyond(metrics: Iterable[str], num_ranked: int) -> list[str]:
    """Those of the metrics, such as `recall_at_10`, whose K is larger than the number of things that are ranked."""
    return [name for name in metrics if (found := _AT_K.search(name)) and int(found[1]) > num_ranked]


def said_of_left_out(protocol: EvaluationProtocol, num_gallery: int) -> str:
    """What is to be said of a `fitted` protocol: a sentence, empty where nothing is left out."""
    if not protocol.left_out or protocol.answers_hidden:
        return ""
    return (
        f"{protocol.describe()}: left out {', '.join(protocol.left_out)}: their K is larger than the gallery "
        f"({num_gallery:,} images), or than a group of look-alikes, where everything is found"
    )


def check_primary(protocol: EvaluationProtocol, num_gallery: int) -> None:
    """Raises ValueError where the metric that a `fitted` protocol is judged by is left out."""
    if protocol.primary_metric in protocol.left_out and not protocol.answers_hidden:
        raise ValueError(
            f"{said_of_left_out(protocol, num_gallery)}. {protocol.primary_metric} is what this protocol is judged by: "
            "it needs a split with more images"
        )
