"""Several examples share a row of tokens: which ones, in which order, and the batch that comes of them.

Shape letters: B rows, L tokens of the longest row.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from diptych.contracts.news import FusionBatch, FusionExample
from diptych.data.triplets.sampling import random_generator

IGNORED = -100  # the label of a token that carries no loss; what torch's cross-entropy ignores
_WINDOW = 128  # examples packed together: enough for full rows, few enough that neighbours change with every pass


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Positions of the examples of each row, so that the lengths of a row sum up to at most `row_length`.

    Best fit, longest first: each example goes to the fullest row that still takes it. Every position occurs once;
    equal lengths keep their order, rows stand in the order in which they were begun. Deterministic.

    Raises:
        ValueError: an example is empty or longer than a row.
    """
    for position, length in enumerate(lengths):
        if not 0 < length <= row_length:
            raise ValueError(f"example {position} has {length} tokens; a row takes 1 to {row_length} (row_length)")
    rows: list[list[int]] = []
    spaces: list[tuple[int, int]] = []  # (free tokens, row), ascending
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        place = bisect_left(spaces, (lengths[position], -1))
        if place < len(spaces):
            free, row = spaces.pop(place)
        else:
            free, row = row_length, len(rows)
            rows.append([])
        rows[row].append(position)
        if free > lengths[position]:
            insort(spaces, (free - lengths[position], row))
    return rows


class PackedBatches(Sampler[list[list[int]]]):
    """An endless, reproducible order of packed rows, which can start at any batch.

    Yields batches of `rows_per_batch` rows; a row is a list of example positions. Every pass shuffles the examples,
    packs them into rows of at most `row_length` tokens and shuffles the rows; it holds every example once, and passes
    follow each other without a seam. The order of the rows is a function of (lengths, row_length, seed); every rank
    takes its own part of each global batch, so N ranks of b rows train on the batches of one rank of N x b rows. With
    `packing` off every example has a row of its own.

    `start_batch` is how many batches are already done: to get there, earlier passes are packed again (no example
    is read: a tenth of a second for 20,000 examples).

    Raises:
        ValueError: there are no examples, or one is empty or longer than a row.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        row_length: int,
        rows_per_batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_batch: int = 0,
        packing: bool = True,
    ) -> None:
        if not lengths:
            raise ValueError("there are no examples to train on")
        self.lengths, self.row_length, self.packing = tuple(lengths), row_length, packing
        self.rows_per_batch, self.seed = rows_per_batch, seed
        self.rank, self.world_size, self.start_batch = rank, world_size, start_batch
        pack(self.lengths, row_length)  # refuses at once what would be refused some batches later

    def __iter__(self) -> Iterator[list[list[int]]]:
        global_batch = self.rows_per_batch * self.world_size
        skip = self.start_batch * global_batch
        number = 0
        rows = self.rows(number)
        while skip >= len(rows):
            skip, number = skip - len(rows), number + 1
            rows = self.rows(number)
        pending = rows[skip:]
        while True:
            while len(pending) < global_batch:
                number += 1
                pending = pending + self.rows(number)
            first = self.rank * self.rows_per_batch
            yield pending[first : first + self.rows_per_batch]
            pending = pending[global_batch:]

    def rows(self, number: int) -> list[list[int]]:
        """All rows of pass `number`, in the order of training."""
        generator = random_generator(self.seed, number)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.packing:
            return [[example] for example in order]
        rows = []
        for start in range(0, len(order), _WINDOW):
            window = order[start : start + _WINDOW]
            packed = pack([self.lengths[example] for example in window], self.row_length)
            rows += [[window[place] for place in row] for row in packed]
        return [rows[place] for place in torch.randperm(len(rows), generator=generator).tolist()]

    def num_batches(self, passes: int) -> int:
        """Batches of a run that sees every example at least `passes` times. Passes may differ by a row or two."""
        rows = sum(len(self.rows(number)) for number in range(passes)) if self.packing else passes * len(self.lengths)
        return -(-rows // (self.rows_per_batch * self.world_size))

    def padding_share(self) -> float:
        """Share of pads among the tokens of the first pass' batches, each as long as its longest row."""
        filled = [sum(self.lengths[example] for example in row) for row in self.rows(0)]
        batches = [filled[start : start + self.rows_per_batch] for start in range(0, len(filled), self.rows_per_batch)]
        return 1 - sum(filled) / sum(len(batch) * max(batch) for batch in batches)


class PackedCollator:
    """Rows of examples to a batch whose width is that of its longest row; no row is longer than `row_length`. With
    `prompt_labels` the prompts' tokens carry a label too.
    """

    def __init__(self, row_length: int, pad_token_id: int, prompt_labels: bool = False) -> None:
        self.row_length, self.pad_token_id, self.prompt_labels = row_length, pad_token_id, prompt_labels

    def __call__(self, rows: Sequence[Sequence[FusionExample]]) -> FusionBatch:
        """The batch. Completion tokens carry a label; pads and an example's very first token do not, nor do prompts
        unless they are asked to.

        Raises:
            ValueError: a row is longer than `row_length`; names the query that does not fit.
        """
        width = max(self._checked(row) for row in rows)
        shape = (len(rows), width)
        ids = torch.full(shape, self.pad_token_id)
        positions, segments = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        for number, row in enumerate(rows):
            start = 0
            for segment, example in enumerate(row, start=1):
                tokens = torch.tensor(example.prompt_ids + example.completion_ids, dtype=torch.long)
                span = (number, slice(start, start + len(tokens)))
                ids[span], positions[span], segments[span] = tokens, torch.arange(len(tokens)), segment
                # Nothing stands before an example's first token to predict it from.
                unlabelled = 1 if self.prompt_labels else max(len(example.prompt_ids), 1)
                labels[span] = tokens
                labels[number, start : start + unlabelled] = IGNORED
                start += len(tokens)
        names = tuple(example.query_id for row in rows for example in row)
        return FusionBatch(names, ids, positions, labels, segments)

    def _checked(self, row: Sequence[FusionExample]) -> int:
        length = 0
        for example in row:
            added = len(example.prompt_ids) + len(example.completion_ids)
            length += added
            if not added or length > self.row_length:
                raise ValueError(
                    f"query {example.query_id}: its {added} tokens do not fit into a row of {self.row_length} with "
                    f"{length - added} taken; raise row_length or shorten the evidence"
                )
        return length
