"""What of a protocol a split can be measured by: metrics whose K is larger than what is ranked say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from diptych.contracts.retrieval import EvaluationProtocol, Query


def fitted(protocol: EvaluationProtocol, queries: Sequence[Query], num_gallery: int) -> EvaluationProtocol:
    """The protocol with the K that fit, and `left_out` naming the metrics of the others: a K beyond the images of the
    gallery, or beyond the other members of the smallest group (there everything would be found); `average` goes with a
    part of it.
    """
    smallest = min((len(query.group_member_ids) - 1 for query in queries if query.group_member_ids), default=None)
    num_members = num_gallery if smallest is None else smallest
    limits = {
        "recall_ks": ("recall_at", num_gallery),
        "map_ks": ("map_at", num_gallery),
        "subset_ks": ("recall_subset_at", num_members),
    }
    left_out = [f"{name}_{k}" for ks, (name, most) in limits.items() for k in getattr(protocol, ks) if k > most]
    if not left_out:
        return protocol
    average_of = () if set(protocol.average_of) & set(left_out) else protocol.average_of
    if average_of != protocol.average_of:
        left_out.append("average")
    return replace(
        protocol,
        **{ks: tuple(k for k in getattr(protocol, ks) if k <= most) for ks, (_, most) in limits.items()},
        average_of=average_of,
        aspect_metrics=tuple(name for name in protocol.aspect_metrics if name not in left_out),
        left_out=tuple(left_out),
    )


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
