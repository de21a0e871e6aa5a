from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from diptych.contracts.news import FusionExample
from diptych.data.news.packing import PackedBatches, PackedCollator, pack

LENGTHS = np.random.default_rng(0).integers(100, 901, size=300).tolist()


def batches(number: int, **settings) -> list[list[list[int]]]:
    defaults = {"lengths": LENGTHS, "row_length": 1024, "rows_per_batch": 2, "seed": 3}
    return list(islice(PackedBatches(**(defaults | settings)), number))


def flat(some: list[list[list[int]]]) -> list[list[int]]:
    return [row for batch in some for row in batch]


@pytest.mark.parametrize("row_length", [900, 1024, 4096])
def test_rows_hold_every_example_once_and_never_too_many_tokens(row_length):
    rows = pack(LENGTHS, row_length)
    assert sorted(example for row in rows for example in row) == list(range(300))
    assert all(sum(LENGTHS[example] for example in row) <= row_length for row in rows)
    assert rows == pack(LENGTHS, row_length)


def test_rows_are_nearly_full():
    rows = pack(LENGTHS, 4096)
    assert len(rows) == -(-sum(LENGTHS) // 4096)  # no packing has fewer


def test_each_example_goes_to_the_fullest_row_that_takes_it():
    assert pack([5, 3, 6, 4, 2], 10) == [[2, 3], [0, 1, 4]]
    assert pack([4, 4, 4], 4) == [[0], [1], [2]]
    assert pack([], 4) == []


@pytest.mark.parametrize("length", [0, 11])
def test_an_example_that_fits_no_row_is_refused(length):
    with pytest.raises(ValueError, match=rf"example 1 has {length} tokens; a row takes 1 to 10"):
        pack([3, length], 10)
    with pytest.raises(ValueError, match="example 1 has"):
        PackedBatches([3, length], 10, 1, seed=0)


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        PackedBatches([], 10, 1, seed=0)


@pytest.mark.parametrize("packing", [True, False])
def test_every_pass_holds_every_example_once_in_a_new_order(packing):
    sampler = PackedBatches(LENGTHS, 1024, 2, seed=3, packing=packing)
    first, second = sampler.rows(0), sampler.rows(1)
    for rows in (first, second):
        assert sorted(example for row in rows for example in row) == list(range(300))
    assert first != second
    drawn = flat(batches(sampler.num_batches(2), packing=packing))
    assert drawn[: len(first) + len(second)] == first + second


def test_neighbours_change_from_pass_to_pass():
    sampler = PackedBatches(LENGTHS, 4096, 1, seed=3)
    pairs = [{(a, b) for row in sampler.rows(number) for a in row for b in row if a < b} for number in (0, 1)]
    assert len(pairs[0] & pairs[1]) < 0.5 * len(pairs[0])


def test_the_order_is_a_function_of_the_seed():
    assert batches(200) == batches(200)
    assert batches(200) != batches(200, seed=4)


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_share_each_global_batch_without_overlap(world_size, packing):
    whole = batches(150, rows_per_batch=8, packing=packing)
    settings = {"rows_per_batch": 8 // world_size, "world_size": world_size, "packing": packing}
    ranks = [batches(150, rank=rank, **settings) for rank in range(world_size)]
    assert [[row for part in parts for row in part] for parts in zip(*ranks, strict=True)] == whole


@pytest.mark.parametrize("start_batch", [0, 1, 40, 76, 77, 78, 200])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_later_start_continues_exactly(start_batch, rank):
    settings = {"rank": rank, "world_size": 2}
    whole = batches(start_batch + 20, **settings)
    assert batches(20, start_batch=start_batch, **settings) == whole[start_batch:]


def test_a_batch_larger_than_a_pass_takes_rows_of_the_next():
    assert [len(batch) for batch in batches(3, lengths=[5, 6], rows_per_batch=5)] == [5, 5, 5]


def test_one_row_per_example_without_packing():
    assert all(len(row) == 1 for row in flat(batches(100, packing=False)))
    assert PackedBatches([10, 10, 10], 20, 2, seed=0, packing=False).num_batches(2) == 3


def test_packing_leaves_little_padding():
    packed = PackedBatches(LENGTHS, 4096, 2, seed=0)
    padded = PackedBatches(LENGTHS, 4096, 8, seed=0, packing=False)
    assert packed.padding_share() < 0.05
    assert padded.padding_share() > 0.3
    assert PackedBatches([7] * 9, 14, 2, seed=0).padding_share() == pytest.approx(7 / 70)


# ------------------------------------------------------------------------------------------------------ collators


def example(name: str, prompt: int, completion: int, start: int = 1) -> FusionExample:
    ids = tuple(range(start, start + prompt + completion))
    return FusionExample(name, ids[:prompt], ids[prompt:])


def test_a_packed_batch_to_the_last_number():
    rows = [[example("a", 2, 2), example("b", 1, 1, start=11)], [example("c", 0, 3, start=21)]]
    batch = PackedCollator(row_length=8, pad_token_id=99)(rows)
    assert batch.query_ids == ("a", "b", "c")
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 11, 12], [21, 22, 23, 99, 99, 99]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 2, 0, 0, 0]]
    assert batch.labels.tolist() == [[-100, -100, 3, 4, -100, 12], [-100, 22, 23, -100, -100, -100]]
    assert batch.segments.tolist() == [[1, 1, 1, 1, 2, 2], [1, 1, 1, 0, 0, 0]]
    assert {batch.input_ids.dtype, batch.position_ids.dtype, batch.labels.dtype, batch.segments.dtype} == {
        batch.input_ids.long().dtype
    }


def test_prompts_carry_labels_when_asked_for():
    rows = [[example("a", 2, 2), example("b", 1, 1, start=11)], [example("c", 0, 3, start=21)]]
    batch = PackedCollator(row_length=8, pad_token_id=22, prompt_labels=True)(rows)
    # All but the first token of each example; pads never, whatever token they are.
    assert batch.labels.tolist() == [[-100, 2, 3, 4, -100, 12], [-100, 22, 23, -100, -100, -100]]


def test_a_padded_batch_has_one_example_a_row():
    batch = PackedCollator(row_length=8, pad_token_id=0)([[example("a", 1, 1)], [example("b", 2, 2, start=11)]])
    assert batch.input_ids.tolist() == [[1, 2, 0, 0], [11, 12, 13, 14]]
    assert batch.segments.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]


def test_pads_that_are_also_tokens_carry_no_loss():
    batch = PackedCollator(row_length=8, pad_token_id=2)([[example("a", 1, 1)], [example("b", 2, 2, start=11)]])
    assert batch.labels.tolist() == [[-100, 2, -100, -100], [-100, -100, 13, 14]]


def test_a_query_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"query b: its 6 tokens do not fit into a row of 8 with 4 taken; raise row_l"):
        PackedCollator(row_length=8, pad_token_id=0)([[example("a", 2, 2), example("b", 3, 3)]])
    with pytest.raises(ValueError, match=r"query long: its 9 tokens"):
        PackedCollator(row_length=8, pad_token_id=0)([[example("a", 2, 2)], [example("long", 4, 5)]])
    with pytest.raises(ValueError, match=r"query empty: its 0 tokens"):
        PackedCollator(row_length=8, pad_token_id=0)([[example("empty", 0, 0)]])
