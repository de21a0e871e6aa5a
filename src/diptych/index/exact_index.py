"""Exact search of a gallery that is too large for memory: block by block, as if it were ranked in one piece.

Identical gallery vectors get identical scores, and stand in the order of their positions, wherever in the gallery they
are: only the first of them is compared with the queries, and the others take over its score. Scores are float32 inner
products of `ranking.rank`; a score does not depend on the block it is computed in as far as the matrix product gives
every column the same result in products of different widths (measured with MKL; the blocks are cut so that none is
narrow, which is where it does not).

Shape letters: Q queries, G gallery, U different gallery vectors, K cut-off, E embedding width.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diptych.ranking.ranking import MAX_GALLERY, rank

_ROW_MULTIPLE = 64  # blocks end where the vector instructions of a matrix product do
_MIN_BLOCK_ROWS = 1024
_HASHED_AT_ONCE = 4096


class ExactIndex:
    """Compares every query with every vector, within `memory_limit_mb` beside what is given and returned.

    A vector that is mapped to memory is read twice: to find repeated vectors, and to compare.
    """

    def __init__(self, memory_limit_mb: int = 1024) -> None:
        if memory_limit_mb < 1:
            raise ValueError(f"memory_limit_mb={memory_limit_mb} must be at least 1")
        self.memory_limit_mb = memory_limit_mb

    def search(self, queries: Tensor | np.ndarray, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The first K of `vectors` (G, E) for each of `queries` (Q, E), best first: positions int64 and scores float32,
        each (Q, K). K is `k`, or G if that is smaller. Equal scores go to the earlier position.

        `vectors` are float16 or float32, an array or one mapped to memory.

        Raises:
            ValueError: shapes that do not fit, k below 1, no vector, or embeddings that are not finite.
        """
        queries = torch.as_tensor(queries).float()
        if queries.ndim != 2 or vectors.ndim != 2 or queries.shape[1] != vectors.shape[1]:
            raise ValueError(f"queries {tuple(queries.shape)} and vectors {vectors.shape} must be (Q, E) and (G, E)")
        if k < 1 or not len(vectors):
            raise ValueError(f"cannot find the first {k} of {len(vectors)} vectors")
        first, first_of = _repeated_rows(vectors)
        scores, places = self._search(queries, vectors, first, min(k, len(first)))
        if len(first) < len(vectors):
            scores, places = _with_repeated(scores, places, first, first_of, min(k, len(vectors)))
        return places.numpy(), scores.numpy()

    def _search(self, queries: Tensor, vectors: np.ndarray, first: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
        """Scores and positions (Q, K) among the rows `first` (U,) of `vectors`."""
        scores = torch.empty(len(queries), 0)
        places = torch.empty(len(queries), 0, dtype=torch.int64)
        limit = self.memory_limit_mb * 2**20
        for start, stop in _blocks(len(first), limit // (16 * vectors.shape[1])):  # float32 twice: half of the limit
            rows = first[start:stop]
            whole = rows[-1] - rows[0] == len(rows) - 1
            block = vectors[rows[0] : rows[-1] + 1] if whole else vectors[rows]
            found = rank(
                queries,
                torch.from_numpy(np.array(block, np.float32)),
                k=k,
                relevant=[()] * len(queries),
                memory_limit_bytes=limit // 2,
            )
            # Positions rise from block to block: a stable sort leaves equal scores in their order.
            scores = torch.cat((scores, found.scores), dim=1)
            places = torch.cat((places, torch.from_numpy(rows)[found.positions]), dim=1)
            scores, order = scores.sort(dim=1, descending=True, stable=True)
            scores, places = scores[:, :k].clone(), places.gather(1, order[:, :k])
        return scores, places


def _blocks(num_rows: int, largest: int) -> list[tuple[int, int]]:
    """Bounds of blocks of up to `largest` rows, none much smaller than the others."""
    units = -(-num_rows // _ROW_MULTIPLE)
    number = -(-num_rows // min(max(_MIN_BLOCK_ROWS, largest), MAX_GALLERY - _ROW_MULTIPLE))
    bounds = [units * block // number * _ROW_MULTIPLE for block in range(number)] + [num_rows]
    return list(pairwise(bounds))


def _repeated_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The positions (U,) of vectors that did not occur before, ascending; and for every vector (G,) the position of its
    first occurrence.

    Found by a 64-bit hash of the bits, confirmed by comparison.
    """
    bits = vectors.view(np.uint16 if vectors.dtype == np.float16 else np.uint32)
    factors = np.random.default_rng(0).integers(0, 2**63, bits.shape[1], np.uint64) * 2 + 1
    parts = (bits[start : start + _HASHED_AT_ONCE] for start in range(0, len(bits), _HASHED_AT_ONCE))
    hashes = np.concatenate([part.astype(np.uint64) @ factors for part in parts])
    _, begins, groups = np.unique(hashes, return_index=True, return_inverse=True)
    first_of = begins[groups]
    for position in np.flatnonzero(first_of != np.arange(len(vectors))):
        if not np.array_equal(bits[position], bits[first_of[position]]):
            first_of[position] = position  # another vector with the same hash: it stands for itself
    return np.unique(first_of), first_of


def _with_repeated(
    scores: Tensor, places: Tensor, first: np.ndarray, first_of: np.ndarray, k: int
) -> tuple[Tensor, Tensor]:
    """The first K when every vector comes with its repetitions, from the first ones among different vectors."""
    by_first = np.argsort(first_of, kind="stable")  # occurrences of a vector side by side, ascending
    ends = np.append(np.searchsorted(first_of[by_first], first), len(first_of))
    all_scores, all_places = [], []
    for row_scores, row in zip(scores.numpy(), places.numpy(), strict=True):
        groups = np.searchsorted(first, row)
        occurrences = [by_first[ends[group] : ends[group + 1]][:k] for group in groups]
        found = np.concatenate(occurrences)
        its_scores = np.repeat(row_scores, [len(occurrence) for occurrence in occurrences])
        order = np.lexsort((found, -its_scores))[:k]
        all_scores.append(its_scores[order])
        all_places.append(found[order])
    shape = (len(scores), k)
    return (
        torch.from_numpy(np.array(all_scores, np.float32).reshape(shape)),
        torch.from_numpy(np.array(all_places, np.int64).reshape(shape)),
    )
