"""Where the images that a query's ranking is asked about stand in the gallery."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, OtherRank, Query
from diptych.ranking.candidates import num_ranked, ranked_members


@dataclass(frozen=True)
class QueryPositions:
    """Gallery positions as `ranking.rank` wants them; the target comes first in its query's `relevant`. Those of
    `reference` (one or none) and `distractors` are there where they were asked for.
    """

    relevant: list[list[int]]
    excluded: Tensor
    members: list[list[int]]
    reference: list[list[int]]
    distractors: list[list[int]]
    members_only: bool  # nothing but a query's members is ranked for it


def query_positions(
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    protocol: EvaluationProtocol,
    also: Collection[OtherRank] = (),
) -> QueryPositions:
    """Where the queries' images stand in the gallery.

    Raises ValueError for repeated gallery ids, fewer candidates than a K of the protocol, and (naming query and id) a
    target, relevant image or group member that is not in the gallery, or an answer that is not among the candidates.
    """
    place = {image_id: position for position, image_id in enumerate(gallery_ids)}
    if len(place) != len(gallery_ids):
        raise ValueError(f"gallery ids must be unique: {len(gallery_ids)} given, {len(place)} different")
    largest_k = max((*protocol.recall_ks, *protocol.map_ks), default=1)
    fewest = num_ranked(protocol, queries, len(gallery_ids))
    if largest_k > fewest:
        raise ValueError(
            f"{protocol.candidates} smaller than K: {protocol.describe()} asks for K={largest_k}, the "
            f"{protocol.candidates} has {fewest} images; `fitted` leaves out what is too large"
        )
    if protocol.candidates == "group":
        _refuse_strangers(queries)

    def positions_of(query: Query, image_ids: Sequence[str], role: str) -> list[int]:
        for image_id in image_ids:
            if image_id not in place:
                raise ValueError(f"query {query.query_id}: {role} {image_id} is not in the gallery")
        return [place[image_id] for image_id in image_ids]

    def known(image_ids: Sequence[str]) -> list[int]:
        return [place[image_id] for image_id in image_ids if image_id in place]

    removed = [place.get(query.reference_image, -1) if protocol.exclude_reference else -1 for query in queries]
    return QueryPositions(
        relevant=[positions_of(query, accepted_ids(query), "relevant image") for query in queries],
        excluded=torch.tensor(removed, dtype=torch.int64),
        members=[positions_of(query, ranked_members(query, protocol), "group member") for query in queries],
        reference=[known(wanted_reference(query, protocol, also)) for query in queries],
        distractors=[known(wanted_distractors(query, protocol, also)) for query in queries],
        members_only=protocol.candidates == "group",
    )


def _refuse_strangers(queries: Sequence[Query]) -> None:
    for query in queries:
        for image_id in accepted_ids(query):
            if image_id not in query.group_member_ids:
                raise ValueError(f"query {query.query_id}: relevant image {image_id} is not among its candidates")


def accepted_ids(query: Query) -> tuple[str, ...]:
    """Target first, then the other relevant ids; empty where the answers are hidden."""
    target = () if query.target_image is None else (query.target_image,)
    return tuple(dict.fromkeys((*target, *query.relevant_ids)))


def wanted_reference(query: Query, protocol: EvaluationProtocol, also: Collection[OtherRank]) -> tuple[str, ...]:
    """The reference where its rank is wanted and it stays in the ranking."""
    wanted = "reference_rank" in also and not protocol.exclude_reference
    return (query.reference_image,) if wanted else ()


def wanted_distractors(query: Query, protocol: EvaluationProtocol, also: Collection[OtherRank]) -> tuple[str, ...]:
    """The distractors where their ranks are wanted, without accepted answers and a reference that is taken out."""
    if "distractor_ranks" not in also:
        return ()
    others = {*accepted_ids(query), *([query.reference_image] if protocol.exclude_reference else [])}
    return tuple(name for name in dict.fromkeys(query.distractors) if name not in others)
