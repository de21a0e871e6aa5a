"""What a query ranks: the gallery, or its own group alone."""

from __future__ import annotations

from collections.abc import Sequence

from diptych.contracts.retrieval import EvaluationProtocol, Query


def ranked_members(query: Query, protocol: EvaluationProtocol) -> tuple[str, ...]:
    """The group members that are ranked. A reference among look-alikes never is; one among a query's only candidates
    is, unless the protocol takes it out.
    """
    if protocol.candidates == "group" and not protocol.exclude_reference:
        return query.group_member_ids
    return tuple(image_id for image_id in query.group_member_ids if image_id != query.reference_image)


def num_ranked(protocol: EvaluationProtocol, queries: Sequence[Query], num_gallery: int) -> int:
    """How many images the query with the fewest candidates ranks; of a gallery all, the reference included."""
    if protocol.candidates == "gallery":
        return num_gallery
    return min((len(ranked_members(query, protocol)) for query in queries), default=num_gallery)
