"""The split that a record of a table names; and the splits of records that name none."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

from diptych.data.annotations import Record

SPLIT = "split"  # the column or key
_SHARES = {"test": 0.1, "val": 0.1}  # of the records; the others are for training


def split_of(record: Record, splits: Sequence[str]) -> str:
    """The split that the record names.

    Raises:
        ValueError: it names none, or one that is not among `splits`.
    """
    named = record.name(SPLIT)
    if named not in splits:
        raise record.error(f"split {named!r} is not one of {', '.join(splits)}")
    return named


def drawn_apart(named: Sequence[Iterable[Hashable]], texts: Sequence[str], least: int = 1) -> tuple[list[str], bool]:
    """A split for each record, about a tenth of them `val` and a tenth `test`, but `least` if there are so many; and
    whether no two splits share a name.

    `named` is what each record names: those that share anything stay together, over any number of others. Which go
    where the hashes of `texts` decide, not the order. Where too many hang together for that, records are drawn one by
    one.
    """
    places: dict[int, list[int]] = defaultdict(list)
    for place, root in enumerate(_together(named)):
        places[root].append(place)
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    clusters = sorted(places.values(), key=lambda members: min(hashes[place] for place in members))
    apart = len(clusters) >= 3 and max(map(len, clusters)) <= (1 - sum(_SHARES.values())) * len(texts)
    if not apart:
        clusters = [[place] for place in sorted(range(len(texts)), key=hashes.__getitem__)]
    splits = ["train"] * len(texts)
    for split, share in _SHARES.items():
        wanted = max(least, round(share * len(texts)))
        while wanted > 0 and len(clusters) > 1:
            fits = [place for place, members in enumerate(clusters) if len(members) <= wanted]
            smallest = min(range(len(clusters)), key=lambda place: len(clusters[place]))
            members = clusters.pop(fits[0] if fits else smallest)
            for place in members:
                splits[place] = split
            wanted -= len(members)
    return splits, apart


def counted(splits: Iterable[str]) -> str:
    """How many records each split has, for people: `test 3, train 24, val 3`."""
    return ", ".join(f"{split} {count}" for split, count in sorted(Counter(splits).items()))


def _together(named: Sequence[Iterable[Hashable]]) -> list[int]:
    """For each record the first one that it hangs together with, by what they name."""
    parents = list(range(len(named)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    first: dict[Hashable, int] = {}
    for place, names in enumerate(named):
        for name in names:
            other, own = root(first.setdefault(name, place)), root(place)
            parents[max(other, own)] = min(other, own)
    return [root(place) for place in range(len(named))]
