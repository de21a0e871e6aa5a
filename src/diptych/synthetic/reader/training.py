"""Trains the networks of a reader on its lessons, with chance from its seed alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diptych.synthetic.reader.fields import FIELDS, NOT_THERE
from diptych.synthetic.reader.lessons import ROOMS, Lessons
from diptych.synthetic.reader.networks import PairNetwork, PictureNetwork
from diptych.synthetic.scenes import pairs_by_num_changes
from diptych.synthetic.triplet_sets import SHARE_BY_NUM_CHANGES

log = logging.getLogger(__name__)

_BATCH = 96  # pictures
_RATE = 3e-3
_SHIFT = 2  # pixels that a picture is moved by at most, so that a place is not learnt to the pixel
_REPORTED = 100  # steps
# Few fields change, and to say which is what the pair's network is for: with equal weights it learns it last.
_CHANGED, _STATE = 3.0, 0.5
Network = TypeVar("Network", bound=nn.Module)


def train_picture_network(lessons: Lessons, width: int, steps: int, seed: int) -> PictureNetwork:
    """A network that has learnt to read single pictures, in evaluation mode; equal arguments make an equal one on a
    machine with as many threads.
    """
    pictures, states = (torch.from_numpy(np.array(part)).flatten(0, 1) for part in lessons)

    def batches(network: PictureNetwork) -> Iterator[Tensor]:
        while True:
            chosen = torch.randint(len(pictures), (_BATCH,))
            yield _state_loss(network(_shifted(pictures[chosen])), states[chosen])

    return _trained(lambda: PictureNetwork(width), batches, steps, seed)


def train_pair_network(lessons: Lessons, width: int, steps: int, seed: int) -> PairNetwork:
    """A network that has learnt to read pairs of a hotel's rooms, as many changes apart as a set's pairs are."""
    pictures, states = (torch.from_numpy(np.array(part)) for part in lessons)

    def batches(network: PairNetwork) -> Iterator[Tensor]:
        while True:
            hotels, before, after = sample_pairs(len(pictures), _BATCH // 2)
            changed, old, new = network(_shifted(pictures[hotels, before]), _shifted(pictures[hotels, after]))
            one, other = states[hotels, before], states[hotels, after]
            of_change = F.binary_cross_entropy_with_logits(changed, changes_of(one, other).float())
            yield _CHANGED * of_change + _STATE * (_state_loss(old, one) + _state_loss(new, other))

    return _trained(lambda: PairNetwork(width), batches, steps, seed)


def sample_pairs(num_hotels: int, number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hotels, and two different rooms of each, (number,) each: as a set draws its triplets."""
    groups = pairs_by_num_changes(ROOMS)
    weights = [SHARE_BY_NUM_CHANGES[num] / len(pairs) for num, pairs in groups.items() for _ in pairs]
    rooms = torch.tensor([pair for pairs in groups.values() for pair in pairs])
    drawn = rooms[torch.multinomial(torch.tensor(weights), number, replacement=True)]
    return torch.randint(num_hotels, (number,)), drawn[:, 0], drawn[:, 1]


def changes_of(before: Tensor, after: Tensor) -> Tensor:
    """(B, F) twice to (B, F): which fields differ. The attributes of what appears or goes do not."""
    return (before != after) & (before != NOT_THERE) & (after != NOT_THERE)


def _state_loss(logits: tuple[Tensor, ...], states: Tensor) -> Tensor:
    """The mean over fields of the cross-entropy of those pictures that have the field's object."""
    losses = []
    for place in range(len(FIELDS)):
        there = states[:, place] != NOT_THERE
        summed = F.cross_entropy(logits[place][there], states[there, place], reduction="sum")
        losses.append(summed / there.sum().clamp(min=1))
    return torch.stack(losses).mean()


def _shifted(pictures: Tensor) -> Tensor:
    """All of them moved alike, the edge repeated."""
    down, right = torch.randint(2 * _SHIFT + 1, (2,)).tolist()
    side = pictures.shape[-1]
    padded = F.pad(pictures.float(), (_SHIFT,) * 4, mode="replicate")
    return padded[:, :, down : down + side, right : right + side]


def _trained(
    make: Callable[[], Network], losses: Callable[[Network], Iterator[Tensor]], steps: int, seed: int
) -> Network:
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make().train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=0.01)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
        for step, loss in zip(range(1, steps + 1), losses(network), strict=False):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if step % _REPORTED == 0 or step == steps:
                spent = time.monotonic() - started
                log.info("reader: step %d of %d, loss %.3f, %.0f s", step, steps, loss.item(), spent)
    return network.eval().requires_grad_(False)
