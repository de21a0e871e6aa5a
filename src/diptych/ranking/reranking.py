"""The first results of a query in another order: which queries are in doubt, and how a second opinion is mixed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_DIGITS = 6  # of scores in predictions.jsonl


def candidates(line: Mapping[str, Any], removed: str | None, k: int, margin: float | None) -> list[str]:
    """The first `k` results of a line that is in doubt; empty where it is not.

    In doubt is what scores the first result less than `margin` above the second; None: everything. `removed` is the
    image that the protocol takes out of the ranking, which is no result.
    """
    scored = zip(line["ranked_ids"], line["scores"], strict=True)
    results = [(image_id, score) for image_id, score in scored if image_id != removed][:k]
    if len(results) < 2:
        return []
    (_, first), (_, second) = results[:2]
    return [image_id for image_id, _ in results] if margin is None or first - second < margin else []


def fused(scores: Sequence[float], probabilities: Sequence[float], weight: float) -> list[float]:
    """`(1 - weight)` of each score, scaled to 0 to 1 over these, and `weight` of its probability: a weighted sum of
    normalised scores (CombSUM, Fox and Shaw, TREC-2 1994). Where all scores are equal, they count 0.
    """
    low, high = min(scores), max(scores)
    scaled = [(score - low) / (high - low) if high > low else 0.0 for score in scores]
    return [(1 - weight) * one + weight * other for one, other in zip(scaled, probabilities, strict=True)]


def reranked(
    line: Mapping[str, Any], probabilities: Mapping[str, float], weight: float, target: str | None, removed: str | None
) -> dict[str, Any]:
    """The line with the images that have a probability in the order of `fused`; equal ones stay as they stand to each
    other, and all others where they are. Where the order stays, so does the whole line.

    Scores are the fused ones on the scale of those that these images had, so that they still fall; `target_rank` and
    `subset_ids` are those of the new order.
    """
    ids, scores = list(line["ranked_ids"]), list(line["scores"])
    places = [place for place, image_id in enumerate(ids) if image_id in probabilities]
    own = [scores[place] for place in places]
    mixed = fused(own, [probabilities[ids[place]] for place in places], weight) if places else []
    order = sorted(range(len(places)), key=lambda one: -mixed[one])
    if order == list(range(len(places))):
        return dict(line)
    low, high = min(own), max(own)
    for place, one in zip(places, order, strict=True):
        ids[place] = line["ranked_ids"][places[one]]
        scores[place] = round(low + mixed[one] * (high - low), _DIGITS)
    new = {**line, "ranked_ids": ids, "scores": scores}
    if line.get("target_rank") is not None and target in ids:
        new["target_rank"] = [image_id for image_id in ids if image_id != removed].index(target) + 1
    if "subset_ids" in line:
        rank = {image_id: place for place, image_id in enumerate(ids)}
        new["subset_ids"] = sorted(line["subset_ids"], key=lambda image_id: rank.get(image_id, len(ids)))
    return new
