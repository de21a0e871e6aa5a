"""The one file that talks to torch.distributed: gathering with gradient, gathering records by id, rank and size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


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
    kinds of GPU do; of others that of the lowest rank is taken. `what` names them in messages.
    """
    pieces = _gather_pieces(positions.cpu(), rows)
    times = torch.bincount(torch.cat([where for where, _ in pieces]), minlength=total)
    if len(times) > total:
        raise ValueError(f"{what} at position {len(times) - 1} were computed, but there are only {total}")
    missing = (times == 0).nonzero().flatten().tolist()
    if missing:
        raise ValueError(
            f"{total - len(missing)} of {total} {what} were computed; "
            f"missing positions: {missing[:10]} ({len(missing)} in all)"
        )
    merged: dict[str, Tensor] = {}
    for where, piece in reversed(pieces):
        for name, values in piece.items():
            merged.setdefault(name, torch.zeros(total, *values.shape[1:], dtype=values.dtype))[where] = values
    for where, piece in pieces:
        again = times[where] > 1
        for name, values in piece.items():
            if not torch.allclose(merged[name][where[again]], values[again], rtol=1e-2, atol=1e-2):
                raise ValueError(f"{what} {where[again].tolist()[:10]} were computed twice with different results")
    return merged


def _gather_pieces(positions: Tensor, rows: Mapping[str, Tensor]) -> list[tuple[Tensor, dict[str, Tensor]]]:
    local = (positions.numpy(), {name: values.cpu().numpy() for name, values in rows.items()})
    pieces: list[Any] = [local]
    if world_size() > 1:
        pieces = [None] * world_size()
        dist.all_gather_object(pieces, local, group=_hosts())
    return [
        (torch.from_numpy(where), {name: torch.from_numpy(values) for name, values in piece.items()})
        for where, piece in pieces
    ]


def any_rank(flag: bool) -> bool:
    """True on every rank if the flag is set on one of them. The hosts ask each other; none waits for its GPU."""
    if world_size() == 1:
        return flag
    count = torch.tensor(int(flag))
    dist.all_reduce(count, group=_hosts())
    return bool(count.item())


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
