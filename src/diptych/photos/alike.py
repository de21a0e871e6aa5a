"""Which picture files show the same: the same bytes, or one picture saved again in another size, format or quality."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from diptych.photos.images import decode_image
from diptych.photos.picture_data import read_bytes

_SIDE = 8  # of the grid whose neighbours are compared: 2 * 8 * 8 bits
_BANDS = 8  # two pictures that differ in fewer bits than bands have one of them in common
_SIDE_IN_COLOUR = 24
# Of the means of 24 x 24 fields, 0 to 255: a JPEG of quality 30, or of half the size, moves none of them by as much;
# an object in another colour, or at another place, moves some by more.
_MOST_OF_A_FIELD = 24.0
_MOST_ON_AVERAGE = 4.0
_LARGEST_BAND = 200  # pictures that share a band; of more (blank ones), those with all bits the same are compared


@dataclass(frozen=True, slots=True)
class Alike:
    """Two of the pictures, by name; `same_bytes` where the files are equal, else they show the same nearly."""

    first: str
    second: str
    same_bytes: bool


@dataclass(frozen=True, slots=True)
class _Look:
    digest: str
    bits: int
    fields: np.ndarray  # (24, 24, 3), float32


def find_alike(pictures: Mapping[str, Path], workers: int = 1, title: str = "comparing") -> list[Alike]:
    """The pairs of pictures that show the same, in the order of their names' first; unreadable files are left out.

    Nearly the same are two whose difference hashes (the signs of the steps between neighbours of an 8 x 8 grid, across
    and down) differ in fewer than 8 of 128 bits, and whose 24 x 24 fields agree in colour. It is meant for copies, not
    for look-alikes: two rooms that differ in a cushion are not alike.
    """
    names = list(pictures)
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        looks = pool.map(_look, pictures.values())
        shown = track(looks, title, len(names), console=Console(stderr=True), disable=not names, transient=True)
        found = dict(zip(names, shown, strict=True))
    known = {name: look for name, look in found.items() if look is not None}
    place = {name: number for number, name in enumerate(names)}
    pairs = {tuple(sorted(pair, key=place.__getitem__)) for pair in _candidates(known)}
    alike = (
        Alike(first, second, known[first].digest == known[second].digest)
        for first, second in sorted(pairs, key=lambda pair: (place[pair[0]], place[pair[1]]))
        if _show_the_same(known[first], known[second])
    )
    return list(alike)


def _look(path: Path) -> _Look | None:
    try:
        data = read_bytes(path)
        pixels = decode_image(data, path).permute(1, 2, 0).contiguous().numpy()
    except ValueError:
        return None
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    across = _reduced(gray, _SIDE + 1, _SIDE)
    down = _reduced(gray, _SIDE, _SIDE + 1)
    steps = np.concatenate([(np.diff(across, axis=1) > 0).ravel(), (np.diff(down, axis=0) > 0).ravel()])
    bits = int.from_bytes(np.packbits(steps).tobytes(), "big")
    fields = _reduced(pixels, _SIDE_IN_COLOUR, _SIDE_IN_COLOUR).astype(np.float32)
    return _Look(hashlib.sha256(data).hexdigest(), bits, fields)


def _reduced(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _candidates(looks: Mapping[str, _Look]) -> Iterator[tuple[str, str]]:
    """Pairs that may be alike: equal files, and those with a band of bits in common."""
    files: dict[str, str] = {}
    for name, look in looks.items():
        if (other := files.setdefault(look.digest, name)) != name:
            yield other, name
    width = 2 * _SIDE * _SIDE // _BANDS
    for band in range(_BANDS):
        by_bits: dict[int, list[str]] = defaultdict(list)
        for name, look in looks.items():
            by_bits[look.bits >> (band * width) & ((1 << width) - 1)].append(name)
        for members in by_bits.values():
            if len(members) <= _LARGEST_BAND:
                yield from combinations(members, 2)
                continue
            yield from _of_equal_bits(members, looks)


def _of_equal_bits(members: Sequence[str], looks: Mapping[str, _Look]) -> Iterator[tuple[str, str]]:
    """Of pictures that are too many to compare each with each: those of equal bits, each with the first of them."""
    first: dict[int, str] = {}
    for name in members:
        other = first.setdefault(looks[name].bits, name)
        if other != name:
            yield other, name


def _show_the_same(first: _Look, second: _Look) -> bool:
    if first.digest == second.digest:
        return True
    if (first.bits ^ second.bits).bit_count() >= _BANDS:
        return False
    apart = np.abs(first.fields - second.fields)
    return bool(apart.max() <= _MOST_OF_A_FIELD and apart.mean() <= _MOST_ON_AVERAGE)


def groups_of(pairs: Iterable[Alike]) -> list[list[str]]:
    """The names that hang together by the pairs, each group and the groups in the order of first mention."""
    group_of: dict[str, list[str]] = {}
    for pair in pairs:
        first = group_of.setdefault(pair.first, [pair.first])
        second = group_of.setdefault(pair.second, [pair.second])
        if first is not second:
            first += second
            for name in second:
                group_of[name] = first
    return list({id(group): group for group in group_of.values()}.values())
