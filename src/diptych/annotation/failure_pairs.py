"""From what a model ranked wrongly to pairs of images that are worth a text."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

Pair = tuple[str, str]  # reference, target


@dataclass(frozen=True, slots=True)
class Ranked:
    """A training query and, best first, the images of its target's group that were ranked `above` the target, and those
    `below` it.
    """

    query_id: str
    reference: str
    target: str
    above: Sequence[str]
    below: Sequence[str] = ()


def pairs_of_failures(ranked: Ranked) -> Iterator[Pair]:
    """The pairs that the query's failures make, the worst failure first: the reference with each image that outranked
    the target. What cannot be paired with itself is the reference: where it did, the way back from the target.
    """
    return (_pair(ranked, image) for image in ranked.above)


def pairs_of_near_misses(ranked: Ranked) -> Iterator[Pair]:
    """The same of what came next: a model that has seen its training pairs often fails at few of them."""
    return (_pair(ranked, image) for image in ranked.below)


def _pair(ranked: Ranked, image: str) -> Pair:
    return (ranked.target, ranked.reference) if image == ranked.reference else (ranked.reference, image)


def pairs_beside(ranked: Ranked, group: Sequence[str], seed: int) -> Iterator[Pair]:
    """The reference with every image of its group in a random order: what failures are compared with."""
    images = sorted(set(group) - {ranked.reference, ranked.target})
    random.Random(f"{seed} {ranked.query_id}").shuffle(images)
    return ((ranked.reference, image) for image in images)


def choose_pairs(
    candidates: Sequence[Mapping[str, Iterator[Pair]]], known: Collection[Pair], num_pairs: int, seed: int
) -> tuple[list[tuple[str, Pair]], list[int]]:
    """At most `num_pairs` pairs, each once, with the query that it comes from; and how many there were of each kind of
    `candidates`, which have some by query: all of a kind come before any of the next.

    Queries come in an order drawn by `seed`: the first candidate of each, then the second, and so on. What is `known`
    has a text already and is left out: its target is an accepted answer to the reference with that text.
    """
    found: dict[Pair, str] = {}
    numbers = []
    for of_kind in candidates:
        order, before = sorted(of_kind), len(found)
        random.Random(seed).shuffle(order)
        for of_round in zip_longest(*(of_kind[query_id] for query_id in order)):
            for query_id, pair in zip(order, of_round, strict=True):
                if pair is not None and pair not in known:
                    found.setdefault(pair, query_id)
        numbers.append(len(found) - before)
    return [(query_id, pair) for pair, query_id in found.items()][:num_pairs], numbers
