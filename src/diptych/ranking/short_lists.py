"""Lists that end before the K of a metric: what recall at 50 over ten images a query means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from diptych.contracts.retrieval import EvaluationProtocol, RankedQuery


@dataclass(frozen=True)
class ShortLists:
    """How many lists hold fewer than K images, and how many the shortest of them holds."""

    number: int
    shortest: int

    def joined(self, other: ShortLists) -> ShortLists:
        """Of the lists of two sets together."""
        return ShortLists(self.number + other.number, min(self.shortest, other.shortest))


def short_lists(ranked: Sequence[RankedQuery], protocol: EvaluationProtocol) -> dict[str, ShortLists]:
    """By metric (`recall_at_50`) the lists that are shorter than its K, without the image that the protocol takes out;
    of `recall_subset_at_1` those that hold fewer than K of their query's look-alikes. Metrics without any are left out,
    and so are all where the answers are hidden.
    """
    if protocol.answers_hidden:
        return {}
    whole = [len(one.ranked_ids) for one in ranked]
    group = [len(one.subset_ids) for one in ranked]
    ks = {
        "recall_at": (protocol.recall_ks, whole),
        "map_at": (protocol.map_ks, whole),
        "recall_subset_at": (protocol.subset_ks, group),
    }
    found = {f"{name}_{k}": [one for one in of_name if one < k] for name, (all_k, of_name) in ks.items() for k in all_k}
    return {name: ShortLists(len(short), min(short)) for name, short in found.items() if short}


def said_of_short(found: Mapping[str, ShortLists], num_lists: int) -> Iterable[str]:
    """A sentence for the metrics that the same lists are too short for."""
    by_lists: dict[ShortLists, list[str]] = {}
    for name, short in found.items():
        by_lists.setdefault(short, []).append(name)
    for short, names in by_lists.items():
        yield (
            f"{', '.join(names)}: {short.number:,} of {num_lists:,} lists hold fewer images than K, the shortest "
            f"{short.shortest:,}; what they leave out counts as a miss, so these are lower bounds."
        )
