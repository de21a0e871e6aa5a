"""Exact ranking of a gallery for many queries, in blocks: the first K results and the rank of every relevant image.

Blocks of queries are multiplied with the whole gallery; no score is computed twice and nothing is fully sorted. Scores
are float32 inner products. Equal scores go to the earlier gallery position, in the first K and in the ranks alike.

Identical gallery vectors always get identical scores, bit for bit. Matrix products do not promise that: a library may
sum the last columns of a matrix, or a matrix of few rows, in another order (measured with MKL: 80 of 168 shapes with
fewer than 16 queries or a tiny gallery). Hence repeated gallery vectors are found beforehand and take over the score of
their first occurrence; and both sides are padded to a size at which a row's scores do not depend on the rows around it
(measured on the CPU for blocks of 1 to 1,024 queries), so that the size of the blocks changes nothing.

Shape letters: Q queries, B queries of a block, G gallery, W padded gallery, K cut-off, E embedding width, P pairs of a
query and a relevant position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

DEFAULT_MEMORY_LIMIT_BYTES = 256 * 2**20
MAX_BLOCK_QUERIES = 512  # larger blocks leave the processor's cache and were not faster
ROW_MULTIPLE = 16  # block sizes at which a row's scores do not depend on the block's size
MIN_GALLERY = 32  # the same for the other side
GROUP = 32  # columns summed up by their maximum; wide enough for vector instructions along the row
COLUMN_MULTIPLE = 2 * GROUP
HASH_ROWS = 64
CACHE_BYTES = 16 * 2**20  # smaller chunks cost more hand-overs between threads than they save
MAX_GALLERY = 2**24 - COLUMN_MULTIPLE  # beyond it a float32 cannot count


@dataclass(frozen=True)
class Ranking:
    """What `rank` found, one row per query.

    `positions` (Q, K) int64 and `scores` (Q, K) float32 hold the first results, best first; K is at most the size of
    the gallery, and a row from which a position was removed may end in position -1 with score -inf. `relevant_ranks`
    has the 1-based rank of each given relevant position, in the given order, None where that position was removed.
    `member_order` has each query's group member positions, best first, without the removed one; `member_scores` theirs.
    """

    positions: Tensor
    scores: Tensor
    relevant_ranks: tuple[tuple[int | None, ...], ...]
    member_order: tuple[tuple[int, ...], ...]
    member_scores: tuple[tuple[float, ...], ...]


def rank(
    queries: Tensor,
    gallery: Tensor,
    *,
    k: int,
    relevant: Sequence[Sequence[int]],
    excluded: Tensor | None = None,
    members: Sequence[Sequence[int]] | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> Ranking:
    """Rank `gallery` (G, E) for each of `queries` (Q, E) by inner product; both on one device, CPU or GPU.

    `relevant` and `members` hold gallery positions per query: of the first the exact ranks are returned, of the second
    the order. `excluded` (Q,) is the position removed from a query's ranking, -1 for none. Working memory beyond the
    inputs stays near `memory_limit_bytes`, unless 16 queries at once need more.

    Raises ValueError for embeddings that are not finite, shapes that do not fit and positions outside the gallery.
    """
    if excluded is None:
        excluded = torch.full((len(queries),), -1)
    members = members if members is not None else [()] * len(queries)
    _check(queries, gallery, k, relevant, excluded, members)
    pairs = _Pairs.flatten(relevant, queries.device)
    group = _Pairs.flatten(members, queries.device)
    excluded = excluded.to(queries.device)
    k = min(k, len(gallery))
    positions, scores, ranks, member_scores = [], [], [], []
    with torch.no_grad(), _full_float32(queries.device.type):
        for start, block in _score_blocks(queries, gallery, excluded, memory_limit_bytes):
            top_scores, top_positions = _top_k(block, k)
            positions.append(top_positions)
            scores.append(top_scores)
            ranks.append(_exact_ranks(block, *pairs.of_block(start, len(block))))
            rows, columns = group.of_block(start, len(block))
            member_scores.append(block[rows, columns])
    removed = excluded.tolist()
    groups = [
        sorted((-s, c) for c, s in zip(columns, found, strict=True) if c != gone)
        for columns, found, gone in zip(members, group.split(member_scores), removed, strict=True)
    ]
    return Ranking(
        positions=_concatenate(positions, (0, k), torch.int64, queries.device),
        scores=_concatenate(scores, (0, k), torch.float32, queries.device),
        relevant_ranks=tuple(
            tuple(None if column == gone else found for column, found in zip(columns, of_query, strict=True))
            for columns, of_query, gone in zip(relevant, pairs.split(ranks), removed, strict=True)
        ),
        member_order=tuple(tuple(column for _, column in ordered) for ordered in groups),
        member_scores=tuple(tuple(-score for score, _ in ordered) for ordered in groups),
    )


@dataclass(frozen=True)
class _Pairs:
    """Gallery positions of all queries, end to end: those of query q are `columns[offsets[q]:offsets[q + 1]]`."""

    offsets: list[int]
    rows: Tensor
    columns: Tensor

    @classmethod
    def flatten(cls, lists: Sequence[Sequence[int]], device: torch.device) -> _Pairs:
        offsets = [0]
        for positions in lists:
            offsets.append(offsets[-1] + len(positions))
        rows = [row for row, positions in enumerate(lists) for _ in positions]
        columns = [column for positions in lists for column in positions]
        return cls(
            offsets,
            torch.tensor(rows, dtype=torch.int64, device=device),
            torch.tensor(columns, dtype=torch.int64, device=device),
        )

    def of_block(self, start: int, num_queries: int) -> tuple[Tensor, Tensor]:
        chosen = slice(self.offsets[start], self.offsets[start + num_queries])
        return self.rows[chosen] - start, self.columns[chosen]

    def split(self, found: list[Tensor]) -> list[list[int]]:
        flat = torch.cat(found).tolist() if found else []
        return [flat[begin:end] for begin, end in zip(self.offsets, self.offsets[1:], strict=False)]


def _check(
    queries: Tensor,
    gallery: Tensor,
    k: int,
    relevant: Sequence[Sequence[int]],
    excluded: Tensor,
    members: Sequence[Sequence[int]],
) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(f"queries {tuple(queries.shape)} and gallery {tuple(gallery.shape)} must be (Q, E) and (G, E)")
    if not 0 < len(gallery) <= MAX_GALLERY or k < 1:
        raise ValueError(f"cannot rank a gallery of {len(gallery)} images (1 to {MAX_GALLERY}) with k={k}")
    for name, given in (("relevant", relevant), ("excluded", excluded), ("members", members)):
        if len(given) != len(queries):
            raise ValueError(f"`{name}` has {len(given)} entries for {len(queries)} queries")
    largest = 1.0
    for name, embeddings in (("query", queries), ("gallery", gallery)):
        low, high = (float(bound) for bound in embeddings.aminmax()) if len(embeddings) else (0.0, 0.0)
        largest *= max(-low, high)
        if not -torch.inf < low <= high < torch.inf:
            bad = (~embeddings.isfinite().all(dim=1)).nonzero().flatten().tolist()
            raise ValueError(f"{name} embeddings with NaN or infinite values: {len(bad)}, first positions {bad[:10]}")
    if largest * queries.shape[1] > torch.finfo(torch.float32).max:
        raise ValueError("scores would overflow float32; normalise the embeddings first")
    _check_positions(gallery, relevant, excluded, members)


def _check_positions(
    gallery: Tensor, relevant: Sequence[Sequence[int]], excluded: Tensor, members: Sequence[Sequence[int]]
) -> None:
    for name, lists in (("relevant", relevant), ("members", members)):
        for query, positions in enumerate(lists):
            if any(not 0 <= position < len(gallery) for position in positions):
                raise ValueError(f"`{name}` of query {query} is outside the gallery of {len(gallery)}: {positions}")
    if len(excluded) and not -1 <= int(excluded.min()) <= int(excluded.max()) < len(gallery):
        raise ValueError(f"`excluded` must hold positions below {len(gallery)}, or -1")


@contextmanager
def _full_float32(device_type: str) -> Iterator[None]:
    """Matrix products in full float32, whatever the training around us has set (autocast, TF32, bf16)."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def _score_blocks(
    queries: Tensor, gallery: Tensor, excluded: Tensor, memory_limit_bytes: int
) -> Iterator[tuple[int, Tensor]]:
    """(first query, scores (B, W)) of each block; columns from G on and the removed positions hold -inf.

    The tensor is overwritten by the next block. W is larger than G and a multiple of `COLUMN_MULTIPLE`.
    """
    num_gallery = len(gallery)
    gallery = pad(gallery.float(), (0, 0, 0, max(0, MIN_GALLERY - num_gallery)))
    width = (len(gallery) // COLUMN_MULTIPLE + 1) * COLUMN_MULTIPLE
    block = _block_queries(len(queries), width, memory_limit_bytes)
    buffer = torch.empty(block, width, device=gallery.device)
    later, first = _repeated_rows(gallery[:num_gallery])
    for start in range(0, len(queries), block):
        part = queries[start : start + block].float()
        num_rows = -(-len(part) // ROW_MULTIPLE) * ROW_MULTIPLE
        torch.mm(pad(part, (0, 0, 0, num_rows - len(part))), gallery.T, out=buffer[:num_rows, : len(gallery)])
        scores = buffer[: len(part)]
        scores[:, num_gallery:] = -torch.inf
        if len(later):
            scores[:, later] = scores[:, first]
        rows = (excluded[start : start + block] >= 0).nonzero().flatten()
        scores[rows, excluded[start : start + block][rows]] = -torch.inf
        yield start, scores


def _block_queries(num_queries: int, width: int, memory_limit_bytes: int) -> int:
    """Queries of a block: a score takes 4 bytes, and what is derived from a chunk of the scores as much again."""
    fitting = min(memory_limit_bytes // (width * 8), MAX_BLOCK_QUERIES, num_queries + ROW_MULTIPLE - 1)
    return max(ROW_MULTIPLE, fitting // ROW_MULTIPLE * ROW_MULTIPLE)


def _chunk_rows(block: Tensor) -> int:
    """Rows of `block` to work on at once: what the processor's cache holds; on a GPU a good part of the block."""
    if block.is_cuda:
        return max(1, len(block) // 4)
    return max(1, CACHE_BYTES // (block.shape[1] * block.element_size()))


def _repeated_rows(gallery: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of gallery vectors that occurred before, and the positions of their first occurrences.

    Found by a 64-bit hash of the bits (exact in integers, whatever the order of summation), confirmed by comparison.
    """
    odd = gallery.shape[1] % 2
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**62), 2**62, ((gallery.shape[1] + odd) // 2,), generator=generator) * 2 + 1
    factors = factors.to(gallery.device)
    chunks = (pad(chunk, (0, odd)).contiguous().view(torch.int64) for chunk in torch.split(gallery, HASH_ROWS))
    hashes = torch.cat([(chunk * factors).sum(1) for chunk in chunks])
    hashes, order = hashes.sort(stable=True)
    begins = torch.ones_like(hashes, dtype=torch.bool)
    begins[1:] = hashes[1:] != hashes[:-1]
    first = order[begins][begins.cumsum(0) - 1]
    later, first = order[~begins], first[~begins]
    pairs = zip(torch.split(later, HASH_ROWS), torch.split(first, HASH_ROWS), strict=True)
    same = torch.cat([(gallery[after] == gallery[before]).all(1) for after, before in pairs])
    return later[same], first[same]


def _top_k(block: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Scores and positions (B, K) of the first K columns of `block` (B, W); position -1 where the score is -inf.

    The K + 1 groups of columns with the greatest maxima hold the first K + 1 scores, which is all that is searched.
    Rows with equal scores among those are repaired: only there does the choice depend on the position.
    """
    groups = torch.unflatten(block, 1, (-1, GROUP))
    num_groups = groups.shape[1]
    if num_groups > k + 1:
        chosen = groups.amax(2).topk(k + 1, sorted=False).indices
        rows = torch.arange(len(block), device=block.device)[:, None]
        candidates = block.view(-1, GROUP).index_select(0, (rows * num_groups + chosen).flatten()).view(len(block), -1)
        scores, places = candidates.topk(k + 1)
        positions = chosen.gather(1, places // GROUP) * GROUP + places % GROUP
    else:
        scores, positions = block.topk(k + 1)
    tied = (scores[:, 1:] == scores[:, :-1]).any(1).nonzero().flatten()
    scores, positions = scores[:, :k], positions[:, :k]
    for rows in torch.split(tied, _chunk_rows(block)) if len(tied) else ():
        scores[rows], positions[rows] = _stable_top_k(block[rows], scores[rows, -1:], k)
    return scores, positions.masked_fill_(scores == -torch.inf, -1)


def _stable_top_k(rows: Tensor, kth: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The first K of `rows` (B, W), given each row's K-th greatest score (B, 1), ties to the earlier position."""
    greater, equal = rows > kth, rows == kth
    missing = k - greater.sum(1, keepdim=True)
    greater |= equal & (equal.cumsum(1, dtype=torch.int32) <= missing)
    positions = greater.nonzero()[:, 1].view(len(rows), k)
    scores, order = rows.gather(1, positions).sort(dim=1, descending=True, stable=True)
    return scores, positions.gather(1, order)


def _exact_ranks(block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """1-based ranks (P,) of `columns` in the given rows of `block` (B, W).

    Comparisons are written as floats and summed: much faster than counting booleans, and exact (W < 2^24). Chunks of
    rows small enough for the cache, in memory that is used again, are faster than one piece.
    """
    ranks = torch.empty_like(columns)
    places = torch.arange(block.shape[1], device=block.device)
    one_each = torch.equal(rows, torch.arange(len(block), device=block.device))  # then no row needs to be copied
    chunk = _chunk_rows(block)
    buffer = torch.empty(min(chunk, len(columns)), block.shape[1], device=block.device)
    for start in range(0, len(columns), chunk):
        own = columns[start : start + chunk, None]
        row = block[start : start + chunk] if one_each else block.index_select(0, rows[start : start + chunk])
        result = buffer[: len(own)]
        score = row.gather(1, own)
        before = torch.gt(row, score, out=result).sum(1)
        tied = (torch.ge(row, score, out=result).sum(1) > before + 1).nonzero().flatten()
        before[tied] += ((row[tied] == score[tied]) & (places < own[tied])).sum(1)
        ranks[start : start + chunk] = before.long() + 1
    return ranks


def _concatenate(parts: list[Tensor], shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.cat(parts) if parts else torch.empty(shape, dtype=dtype, device=device)
