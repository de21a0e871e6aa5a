"""From queries to `RankedQuery`: by a ranking of embeddings, or by the lists of a prediction file.

Both ways obey the protocol's `exclude_reference`; look-alikes are always ranked without the reference image. Where the
protocol's `candidates` are the query's group, ranks are those among its members, and nothing else is ranked. `also`
names further ranks that are wanted: those of reference and distractors cost time, and few metrics read them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from diptych.contracts.retrieval import EvaluationProtocol, OtherRank, Query, RankedQuery
from diptych.ranking.candidates import ranked_members
from diptych.ranking.known_ids import KnownIds, with_known_keys
from diptych.ranking.query_positions import (
    QueryPositions,
    accepted_ids,
    query_positions,
    wanted_distractors,
    wanted_reference,
)
from diptych.ranking.ranking import Ranking, rank

log = logging.getLogger(__name__)

NUM_RESULTS = 50  # what a RankedQuery keeps, and what the test servers ask for


def rank_queries(
    query_embeddings: Tensor,
    gallery_embeddings: Tensor,
    queries: Sequence[Query],
    gallery_ids: Sequence[str],
    protocol: EvaluationProtocol,
    k: int = NUM_RESULTS,
    also: Collection[OtherRank] = (),
) -> list[RankedQuery]:
    """Rank the gallery (G, E) for all queries (Q, E) under the protocol and keep the first K results of each.

    The result is in the order of `queries`. Raises ValueError as `query_positions` and `ranking.rank` do.
    """
    if len(gallery_embeddings) != len(gallery_ids):
        raise ValueError(f"{len(gallery_embeddings)} gallery embeddings for {len(gallery_ids)} gallery ids")
    positions = query_positions(queries, gallery_ids, protocol, also)
    ranked_apart = zip(positions.relevant, positions.reference, positions.distractors, strict=True)
    ranking = rank(
        query_embeddings,
        gallery_embeddings,
        k=k,
        relevant=[[*relevant, *reference, *distractors] for relevant, reference, distractors in ranked_apart],
        excluded=positions.excluded,
        members=positions.members,
    )
    return to_ranked_queries(ranking, queries, gallery_ids, positions)


def to_ranked_queries(
    ranking: Ranking, queries: Sequence[Query], gallery_ids: Sequence[str], positions: QueryPositions
) -> list[RankedQuery]:
    """The ranking of these positions in terms of ids, in the order of `queries`. The ranks of a query's reference and
    distractors stand behind those of its accepted answers.
    """
    if len(queries) != len(ranking.relevant_ranks):
        raise ValueError(f"{len(queries)} queries for a ranking of {len(ranking.relevant_ranks)}")
    ranked = []
    all_positions, all_scores = ranking.positions.tolist(), ranking.scores.tolist()
    for row, query in enumerate(queries):
        subset_ids = tuple(gallery_ids[position] for position in ranking.member_order[row])
        if positions.members_only:
            named = (positions.reference[row], positions.distractors[row])
            reference, distractors = ([gallery_ids[position] for position in of_kind] for of_kind in named)
            scores, num_results = ranking.member_scores[row], ranking.positions.shape[1]
            ranked.append(_ranked_group(query, subset_ids, scores, num_results, reference, distractors))
            continue
        found = [(p, s) for p, s in zip(all_positions[row], all_scores[row], strict=True) if p >= 0]
        num_relevant, num_references = len(positions.relevant[row]), len(positions.reference[row])
        ranks, others = ranking.relevant_ranks[row][:num_relevant], ranking.relevant_ranks[row][num_relevant:]
        of_reference, of_distractors = others[:num_references], others[num_references:]
        ranked.append(
            RankedQuery(
                query_id=query.query_id,
                ranked_ids=tuple(gallery_ids[position] for position, _ in found),
                scores=tuple(score for _, score in found),
                target_rank=ranks[0] if query.target_image is not None else None,
                relevant_ranks=tuple(sorted(found_rank for found_rank in ranks if found_rank is not None)),
                num_relevant=len(accepted_ids(query)),
                subset_rank=_rank_in(subset_ids, query.target_image),
                subset_ids=subset_ids,
                aspects=query.aspects,
                reference_image=query.reference_image,
                target_image=query.target_image,
                text=query.text,
                reference_rank=next(iter(of_reference), None),
                distractor_ranks=tuple(rank for rank in of_distractors if rank is not None),
            )
        )
    return ranked


def _ranked_group(
    query: Query,
    ids: tuple[str, ...],
    scores: tuple[float, ...],
    num_results: int,
    reference: Sequence[str],
    distractors: Sequence[str],
) -> RankedQuery:
    """The ranking of a query whose candidates, best first, are its group's members alone; of the `reference` and the
    `distractors` whose ranks are wanted, those that are among them have one.
    """
    accepted = accepted_ids(query)
    return RankedQuery(
        query_id=query.query_id,
        ranked_ids=ids[:num_results],
        scores=scores[:num_results],
        target_rank=_rank_in(ids, query.target_image),
        relevant_ranks=tuple(rank for rank, image_id in enumerate(ids, start=1) if image_id in accepted),
        num_relevant=len(accepted),
        aspects=query.aspects,
        reference_image=query.reference_image,
        target_image=query.target_image,
        text=query.text,
        reference_rank=next((_rank_in(ids, name) for name in reference), None),
        distractor_ranks=tuple(rank for name in distractors if (rank := _rank_in(ids, name)) is not None),
    )


def rank_ids(
    predictions: Mapping[str, Sequence[str | int]],
    queries: Sequence[Query],
    protocol: EvaluationProtocol,
    gallery_ids: Sequence[str] | None = None,
    also: Collection[OtherRank] = (),
    subsets: Mapping[str, Sequence[str]] | None = None,
    scores: Mapping[str, Sequence[float]] | None = None,
) -> list[RankedQuery]:
    """The given ranked ids of each query under the protocol, in the order of `queries`, with the `scores` of queries
    that have one for each of their ids. `subsets` have the order of a query's group members, where it is known beyond
    the end of its list.

    Ids may be strings or integers; `KnownIds` says in which spellings. What a list leaves out counts as not found;
    without `gallery_ids`, references and distractors are taken to be in the gallery.

    Raises:
        ValueError: queries without a list, lists without a query; an id twice in a list; or an id that is no image of
            the gallery. Where `gallery_ids` are not known: no id of any list is one that the queries name, and some are
            such but for folder or ending; a warning if none is. Names ids, and what they should look like.
    """
    lists = _with_known_queries(predictions, queries)
    known = _known_images(queries, gallery_ids)
    found = [_found_ids(query, lists[query.query_id], known) for query in queries]
    _refuse_unknown(queries, found, known)
    gallery = None if gallery_ids is None else set(gallery_ids)
    subsets, scores = subsets or {}, scores or {}
    ranked = [
        _rank_ids_of(query, ids, protocol, gallery, also, subsets.get(query.query_id), scores.get(query.query_id))
        for query, ids in zip(queries, found, strict=True)
    ]
    largest_k = max((*protocol.recall_ks, *protocol.map_ks), default=1)
    num_short = sum(len(one.ranked_ids) < largest_k for one in ranked)
    if num_short:
        log.warning("%d lists hold fewer than K=%d images; what is missing counts as a miss", num_short, largest_k)
    return ranked


def _with_known_queries(
    predictions: Mapping[str, Sequence[str | int]], queries: Sequence[Query]
) -> dict[str, Sequence[str | int]]:
    lists = with_known_keys(predictions, [query.query_id for query in queries], "predictions")
    missing = [query.query_id for query in queries if query.query_id not in lists]
    if missing:
        shown = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
        raise ValueError(f"{len(missing)} queries without a prediction (of {len(queries)} queries): {shown}")
    return lists


def _known_images(queries: Sequence[Query], gallery_ids: Sequence[str] | None) -> KnownIds:
    """The gallery, and whatever queries name: a list may hold its query's reference where the gallery does not."""
    named = (
        name for query in queries for name in (*accepted_ids(query), *query.group_member_ids, query.reference_image)
    )
    return KnownIds([*(gallery_ids or ()), *named], whole=gallery_ids is not None)


def _found_ids(query: Query, given: Sequence[str | int], known: KnownIds) -> list[tuple[str, str | None]]:
    """Each id of a list as it is written, and the image that is meant."""
    strange = [given] if isinstance(given, str) else [one for one in given if type(one) not in (str, int)]
    if strange:
        raise ValueError(
            f"query {query.query_id}: the prediction must be a list of image ids, strings or integers; there is"
            f" {strange[0]!r:.80}"
        )
    return [(image_id, known.find(image_id)) for image_id in map(str, given)]


def _refuse_unknown(
    queries: Sequence[Query], found: Sequence[Sequence[tuple[str, str | None]]], known: KnownIds
) -> None:
    unknown = [written for of_query in found for written, image_id in of_query if image_id is None]
    if unknown:
        number = sum(any(image_id is None for _, image_id in of_query) for of_query in found)
        raise ValueError(
            f"{len(unknown)} ids, in {number} of {len(queries)} lists, are no images of the gallery: "
            f"{known.say(unknown)}"
        )
    meant = [image_id for of_query in found for _, image_id in of_query if image_id is not None]
    if meant and not known.whole and known.ids.keys().isdisjoint(meant):
        said = "no list holds any accepted answer, nor another image that the queries name: "
        said += known.say(written for of_query in found for written, _ in of_query)
        if any(known.meant(image_id) for image_id in meant):
            raise ValueError(said)
        log.warning("%s. Are these the gallery's ids?", said)
    respelt = [written for of_query in found for written, image_id in of_query if written != image_id]
    if respelt:
        log.warning("%d ids are written in another way, and were found all the same: %s", len(respelt), respelt[:3])


def _rank_ids_of(
    query: Query,
    found: Sequence[tuple[str, str | None]],
    protocol: EvaluationProtocol,
    gallery: set[str] | None,
    also: Collection[OtherRank],
    subset: Sequence[str] | None,
    given_scores: Sequence[float] | None,
) -> RankedQuery:
    ids = [image_id for _, image_id in found if image_id is not None]
    score_of = dict(zip(ids, given_scores or (), strict=False)) if len(given_scores or ()) == len(ids) else {}
    seen: set[str] = set()
    for image_id in ids:
        if image_id in seen:
            raise ValueError(f"query {query.query_id}: image {image_id} stands twice in the prediction")
        seen.add(image_id)
    if protocol.exclude_reference:
        ids = [image_id for image_id in ids if image_id != query.reference_image]
    accepted, members = set(accepted_ids(query)), set(ranked_members(query, protocol))
    subset_ids = tuple(image_id for image_id in (ids if subset is None else subset) if image_id in members)
    named = wanted_reference(query, protocol, also), wanted_distractors(query, protocol, also)
    if protocol.candidates == "group":
        return _ranked_group(query, subset_ids, (), len(subset_ids), *named)
    reference, distractors = (
        [_rank_in(ids, name) or math.inf for name in of_kind if gallery is None or name in gallery] for of_kind in named
    )
    return RankedQuery(
        query_id=query.query_id,
        ranked_ids=tuple(ids),
        scores=tuple(score_of[image_id] for image_id in ids) if score_of else (),
        target_rank=_rank_in(ids, query.target_image),
        relevant_ranks=tuple(position for position, image_id in enumerate(ids, start=1) if image_id in accepted),
        num_relevant=len(accepted),
        subset_rank=_rank_in(subset_ids, query.target_image),
        subset_ids=subset_ids,
        aspects=query.aspects,
        reference_image=query.reference_image,
        target_image=query.target_image,
        text=query.text,
        reference_rank=next(iter(reference), None),
        distractor_ranks=tuple(distractors),
    )


def _rank_in(ids: Sequence[str], image_id: str | None) -> int | None:
    return ids.index(image_id) + 1 if image_id in ids else None
