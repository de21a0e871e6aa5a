"""The one file that talks to torch.distributed: gathering with gradient, gathering records by id, rank and size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Done = TypeVar("Done")


def world_size() -> int:
    """Number of processes that train or evaluate together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def part_ways() -> None:
    """Ends the work of several processes together, when all have come here; each is then alone, number 0 of 1. What
    the first one does alone after the last collective may take hours, and no other has to keep a GPU and a connection
    for it: the end of one that waits would end the first one's work.
    """
    if world_size() > 1:
        dist.barrier()
        dist.destroy_process_group()


def seed_step(seed: int, step: int) -> None:
    """Makes the randomness that follows (dropout) a function of seed, step and rank: a resumed run repeats it."""
    torch.manual_seed(hash((seed, step, rank())) % (1 << 63))


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return gather(local)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # Every rank's loss depends on this rank's rows: their gradients are summed, then each takes its own.
        own = gradient.new_empty(len(gradient) // world_size(), *gradient.shape[1:])
        dist.reduce_scatter_tensor(own, gradient.contiguous())
        return own


def gather_with_gradient(local: Tensor) -> Tensor:
    """Rows of all ranks (world_size * B, ...), in rank order; gradients flow back to the rank that owns the row.

    Every rank must bring the same number of rows. The backward pass sums the gradients over ranks; with the averaging
    of data-parallel training this is the gradient of the mean of the ranks' losses.
    """
    return _GatherWithGradient.apply(local) if world_size() > 1 else local


def gather(local: Tensor) -> Tensor:
    """Rows of all ranks in rank order, without gradient; every rank must bring the same number of rows."""
    if world_size() == 1:
        return local
    gathered = local.new_empty(world_size() * len(local), *local.shape[1:])
    dist.all_gather_into_tensor(gathered, local.contiguous())
    return gathered


def gather_rows(positions: Tensor, rows: Mapping[str, Tensor], total: int, what: str) -> dict[str, Tensor]:
    """Puts rows that were computed on any rank, any number each (none too), into tensors (total, ...) on every rank.

    `positions` (n,) says where the local rows (n, ...) belong. Raises ValueError naming the missing positions if some
    row was computed by nobody, and when one was computed twice with values that differ by more than 1 %, which no two
    kinds of GPU do; of others that of the lowest rank is taken. `what` names them in messages. The rows travel as they
    are, between the hosts; beside the result each keeps `_PART_BYTES` of them, and those that were computed twice.
    """
    counts, kinds = _brought(len(positions), rows, what)
    where = torch.empty(sum(counts), dtype=torch.long)  # of all ranks' rows, in rank order
    for first, part in _parts(positions.cpu(), counts):
        where[first : first + len(part)] = part
    _check_complete(where, total, what)
    numbers = torch.arange(len(where))
    new = torch.full((total,), len(where)).scatter_reduce_(0, where, numbers, "amin")[where] == numbers
    merged: dict[str, Tensor] = {}
    for name, (dtype, shape) in kinds.items():
        local = rows[name].cpu() if name in rows else torch.empty(0, *shape, dtype=dtype)
        values, again = torch.empty(total, *shape, dtype=dtype), []
        for first, part in _parts(local, counts):
            place, is_new = where[first : first + len(part)], new[first : first + len(part)]
            values[place[is_new]] = part[is_new]
            again.append((place[~is_new], part[~is_new]))
        for place, part in again:
            if not torch.allclose(values[place], part, rtol=1e-2, atol=1e-2):
                raise ValueError(f"{what} {place.tolist()[:10]} were computed twice with different results")
        merged[name] = values
    return merged


_PART_BYTES = 2**24
_Kinds = dict[str, tuple[torch.dtype, torch.Size]]


def _brought(count: int, rows: Mapping[str, Tensor], what: str) -> tuple[list[int], _Kinds]:
    """How many rows each rank brings, and each name's type and shape of a row."""
    own = (count, {name: (values.dtype, values.shape[1:]) for name, values in rows.items()})
    everyone: list[tuple[int, _Kinds]] = [own]
    if world_size() > 1:
        everyone = [own] * world_size()
        dist.all_gather_object(everyone, own, group=_hosts())
    named = [kinds for _, kinds in everyone if kinds]  # who has no rows may not know what they are
    if any(kinds != named[0] for kinds in named):
        raise ValueError(f"the processes computed {what} of different kinds: {named}")
    return [count for count, _ in everyone], named[0] if named else {}


def _parts(local: Tensor, counts: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """All ranks' rows, some at a time: the first one's number in rank order, and the rows."""
    length = max(1, _PART_BYTES // max(1, len(counts) * local.dtype.itemsize * math.prod(local.shape[1:])))
    starts = [0, *itertools.accumulate(counts)]
    for begin in range(0, max(counts), length):
        sizes = [min(max(count - begin, 0), length) for count in counts]
        part = local[begin : begin + length]
        if len(counts) > 1:
            even = local.new_zeros(max(sizes), *local.shape[1:])  # a collective takes as many of each rank
            even[: len(part)] = part
            part = local.new_empty(len(counts) * len(even), *local.shape[1:])
            dist.all_gather_into_tensor(part.view(torch.uint8), even.view(torch.uint8), group=_hosts())
        for rank, size in enumerate(sizes):
            yield starts[rank] + begin, part[rank * max(sizes) :][:size]


def _check_complete(where: Tensor, total: int, what: str) -> None:
    times = torch.bincount(where, minlength=total)
    if len(times) > total:
        raise ValueError(f"{what} at position {len(times) - 1} were computed, but there are only {total}")
    missing = (times == 0).nonzero().flatten().tolist()
    if missing:
        raise ValueError(
            f"{total - len(missing)} of {total} {what} were computed; "
            f"missing positions: {missing[:10]} ({len(missing)} in all)"
        )


def any_rank(flag: bool) -> bool:
    """True on every rank if the flag is set on one of them. The hosts ask each other; none waits for its GPU."""
    if world_size() == 1:
        return flag
    count = torch.tensor(int(flag))
    dist.all_reduce(count, group=_hosts())
    return bool(count.item())


def smallest(number: int) -> int:
    """The smallest of all ranks' numbers, on every rank. The hosts ask each other."""
    if world_size() == 1:
        return number
    least = torch.tensor(number)
    dist.all_reduce(least, dist.ReduceOp.MIN, group=_hosts())
    return int(least.item())


def on_every_rank(work: Callable[[], Done]) -> Done:
    """Does this process's work and waits for the others; fails on all where it fails on one, so that none waits on."""
    error: Exception | None = None
    try:
        done = work()
    except Exception as caught:
        error = caught
    if any_rank(error is not None):
        raise error or RuntimeError("another process has failed; its own message says why")
    return done


def of_all_ranks(own: Done) -> list[Done]:
    """What every rank brings, in rank order, on every rank. The hosts ask each other."""
    brought = [own] * world_size()
    if world_size() > 1:
        dist.all_gather_object(brought, own, group=_hosts())
    return brought


def said_by_any(text: str) -> str:
    """The first text of all ranks' that is not empty, on every rank; empty if all are."""
    if world_size() == 1:
        return text
    texts: list[str] = [""] * world_size()
    dist.all_gather_object(texts, text, group=_hosts())
    return next(filter(None, texts), "")


_hosts_of: tuple[Any, Any] = (None, None)  # the group of all processes, and the same for what lies on the hosts


def _hosts() -> Any:
    """The group of all processes for tensors on the host: NCCL has none, so that its processes get one of gloo. Every
    rank must ask for it at the same place.
    """
    global _hosts_of
    world = dist.group.WORLD
    if dist.get_backend() != "nccl":
        return world
    if _hosts_of[0] is not world:
        _hosts_of = (world, dist.new_group(backend="gloo"))
    return _hosts_of[1]
