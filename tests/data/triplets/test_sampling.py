from __future__ import annotations

import itertools
from collections import Counter
from itertools import islice

import pytest

from diptych.data.triplets.sampling import MixingSampler, ShardedBatches, random_generator


def drawn(**settings) -> list[tuple[int, int]]:
    defaults = {"source_sizes": [10], "weights": None, "batch_size": 2, "num_batches": 5, "seed": 0}
    return list(MixingSampler(**(defaults | settings)))


def in_batches(rows: list, size: int) -> list[list]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_the_order_is_a_function_of_the_seed():
    assert drawn(seed=3, num_batches=50) == drawn(seed=3, num_batches=50)
    assert drawn(seed=3, num_batches=50) != drawn(seed=4, num_batches=50)


def test_a_longer_run_begins_as_a_shorter_one():
    assert drawn(num_batches=50)[:20] == drawn(num_batches=10)


def test_every_pass_holds_every_example_once_in_a_new_order():
    rows = drawn(source_sizes=[4, 3], batch_size=2, num_batches=14)  # 28 draws: 4 passes of 7, across batches
    passes = in_batches([example for example, _ in rows], 7)
    assert all(sorted(examples) == list(range(7)) for examples in passes)
    assert len({tuple(examples) for examples in passes}) == 4
    assert [draw for _, draw in rows] == list(range(28))


@pytest.mark.parametrize("world_size", [1, 2, 64])
def test_ranks_share_each_global_batch_without_overlap(world_size):
    batch_size, num_batches = 128 // world_size, 6
    ranks = [
        drawn(source_sizes=[300, 90], batch_size=batch_size, num_batches=num_batches, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert all(len(rows) == batch_size * num_batches for rows in ranks)
    batches = [[row for rank in ranks for row in in_batches(rank, batch_size)[batch]] for batch in range(num_batches)]
    one_rank = drawn(source_sizes=[300, 90], batch_size=128, num_batches=num_batches)
    assert batches == in_batches(one_rank, 128)
    assert sorted(draw for batch in batches for _, draw in batch) == list(range(128 * num_batches))


def test_two_ranks_of_four_take_what_one_rank_of_eight_takes():
    whole = in_batches(drawn(source_sizes=[50], batch_size=8, num_batches=20), 8)
    halves = [
        in_batches(drawn(source_sizes=[50], batch_size=4, num_batches=20, rank=rank, world_size=2), 4)
        for rank in (0, 1)
    ]
    assert [first + second for first, second in zip(*halves, strict=True)] == whole


@pytest.mark.parametrize("start_batch", [0, 1, 4, 7, 29, 30])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_later_start_continues_exactly(start_batch, rank):
    settings = {"source_sizes": [9, 5], "weights": [1, 2], "num_batches": 30, "rank": rank, "world_size": 2}
    assert drawn(**settings, start_batch=start_batch) == drawn(**settings)[2 * start_batch :]


def test_weights_share_out_a_pass_whatever_the_sizes():
    sampler = MixingSampler([100, 20], [1, 1], batch_size=60, num_batches=2, seed=0)
    assert sampler.shares == (60, 60)
    examples = [example for example, _ in sampler]
    large, small = [e for e in examples if e < 100], [e for e in examples if e >= 100]
    assert len(large) == len(set(large)) == 60  # a part of the large source, nothing twice
    assert Counter(small) == dict.fromkeys(range(100, 120), 3)  # the small one three times over


@pytest.mark.parametrize(
    ("weights", "shares"),
    [(None, (30, 10)), ([3, 1], (30, 10)), ([1, 3], (10, 30)), ([1, 0], (40, 0)), ([0.5, 0.5], (20, 20))],
)
def test_shares(weights, shares):
    sampler = MixingSampler([30, 10], weights, batch_size=1, num_batches=40, seed=0)
    assert sampler.shares == shares
    counts = Counter(example < 30 for example, _ in sampler)
    assert (counts[True], counts[False]) == shares


def test_the_lengths_that_the_trainer_and_the_log_need():
    sampler = MixingSampler([30, 10], None, batch_size=4, num_batches=25, seed=0, world_size=2)
    assert len(sampler) == 100 and sampler.epoch_batches == 5


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        ValueError, match=r"a batch of 6 on 2 ranks is larger than the 10 training examples.*batch_size"
    ):
        drawn(batch_size=6, world_size=2)
    assert len(drawn(batch_size=5, world_size=2, num_batches=1)) == 5


@pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0]])
def test_weights_that_make_no_mix_are_refused(weights):
    with pytest.raises(ValueError, match=r"data\.training\.weights=.*one weight of 0 or more for each of 2 sources"):
        drawn(source_sizes=[5, 5], weights=weights)


def test_an_empty_source_is_refused():
    with pytest.raises(ValueError, match=r"sizes \[5, 0\]: an empty one"):
        drawn(source_sizes=[5, 0])


def test_it_does_not_look_ahead():
    """Workers ask for a few batches of a run of any length."""
    sampler = MixingSampler([1000], None, batch_size=10, num_batches=10**9, seed=0)
    assert [draw for _, draw in islice(sampler, 5)] == [0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("world_size", [1, 2, 3, 64])
@pytest.mark.parametrize(("num_rows", "batch_size"), [(7, 3), (6, 3), (1, 4), (40, 4)])
def test_evaluation_batches_are_the_same_for_any_number_of_ranks(num_rows, batch_size, world_size):
    ranks = [ShardedBatches(num_rows, batch_size, rank, world_size) for rank in range(world_size)]
    assert all(len(list(batches)) == len(batches) for batches in ranks)
    num_batches = len(ShardedBatches(num_rows, batch_size))
    together = sorted(batch for batches in ranks[:num_batches] for batch in batches)
    assert together == list(ShardedBatches(num_rows, batch_size))
    # No rank goes without: Lightning would skip its evaluation, and the others would wait for it.
    assert all(list(batches) == together[:1] for batches in ranks[num_batches:])
    assert [row for batch in together for row in batch] == list(range(num_rows))
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1


def test_without_rows_there_are_no_batches():
    assert list(ShardedBatches(0, 4)) == [] and len(ShardedBatches(0, 4)) == 0


# ------------------------------------------------------------------------------------------- randomness of an example


def test_the_randomness_of_a_draw_is_its_own():
    def number(seed: int, draw: int) -> int:
        import torch

        return int(torch.randint(1 << 40, (1,), generator=random_generator(seed, draw)))

    assert number(1, 5) == number(1, 5)
    numbers = {number(seed, draw) for seed in (-1, 0, 1, 2, 42) for draw in range(200)}
    assert len(numbers) == 1000  # neighbouring seeds and draws have nothing in common


def test_look_alikes_come_side_by_side():
    groups = [number // 5 for number in range(40)]
    sampler = MixingSampler([40], None, batch_size=8, num_batches=10, seed=3, groups=groups, group_size=4)
    order = [example for example, _ in sampler]
    for start in (0, 40):
        one_pass = order[start : start + 40]
        assert sorted(one_pass) == list(range(40))
        runs = [groups[example] for example in one_pass]
        lengths = [len(list(run)) for _, run in itertools.groupby(runs)]
        assert sum(length >= 4 for length in lengths) == 8
    assert order[:40] != order[40:]


def test_grouping_changes_neither_shards_nor_restarts():
    groups = [number % 7 for number in range(40)]

    def draws(**settings):
        return list(MixingSampler([40], None, num_batches=9, seed=3, groups=groups, group_size=3, **settings))

    whole = draws(batch_size=8)
    halves = [draws(batch_size=4, rank=rank, world_size=2) for rank in (0, 1)]
    assert [pair for start in range(0, 36, 4) for half in halves for pair in half[start : start + 4]] == whole
    assert draws(batch_size=8, start_batch=4) == whole[32:]
