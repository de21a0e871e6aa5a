"""From what a model ranked wrongly to pairs of images that are worth a text."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

Pair = tuple[str, str]  # reference, target


@dataclass(frozen=True, slots=True)
class Ranked:
    """A training query and `above`, the images of its target's group that were ranked above the target, best first."""

    query_id: str
    reference: str
    target: str
    above: Sequence[str]


def pairs_of_failures(ranked: Ranked) -> Iterator[Pair]:
    """The pairs that the query's failures make, the worst failure first: the reference with each image that outranked
    the target. What cannot be paired with itself is the reference: where it did, the way back from the target.
    """
    for image in ranked.above:
        yield (ranked.target, ranked.reference) if image == ranked.reference else (ranked.reference, image)


def pairs_beside(ranked: Ranked, group: Sequence[str], seed: int) -> Iterator[Pair]:
    """The reference with every image of its group in a random order: what failures are compared with."""
    images = sorted(set(group) - {ranked.reference, ranked.target})
    random.Random(f"{seed} {ranked.query_id}").shuffle(images)
    return ((ranked.reference, image) for image in images)


def choose_pairs(
    candidates: Mapping[str, Iterator[Pair]], known: Collection[Pair], num_pairs: int, seed: int
) -> tuple[list[tuple[str, Pair]], int]:
    """At most `num_pairs` of the candidates by query, each pair once, with its query; and how many there were.

    Queries come in an order drawn by `seed`: the first candidate of each, then the second, and so on. What is `known`
    has a text already and is left out: its target is an accepted answer to the reference with that text.
    """
    order = sorted(candidates)
    random.Random(seed).shuffle(order)
    found: dict[Pair, str] = {}
    for of_round in zip_longest(*(candidates[query_id] for query_id in order)):
        for query_id, pair in zip(order, of_round, strict=True):
            if pair is not None and pair not in known:
                found.setdefault(pair, query_id)
    chosen = [(query_id, pair) for pair, query_id in found.items()]
    return chosen[:num_pairs], len(chosen)
