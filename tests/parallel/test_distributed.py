from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.multiprocessing import start_processes
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.losses.info_nce import InfoNCE
from diptych.parallel import distributed
from diptych.parallel.data_parallel import DataParallelStrategy
from diptych.parallel.distributed import (
    any_rank,
    gather,
    gather_rows,
    gather_with_gradient,
    of_all_ranks,
    on_every_rank,
    rank,
    smallest,
    world_size,
)
from diptych.parallel.sharding import shard_model
from diptych.systems.triplet_weights import TripletWeights
from warm_python import warm

pytestmark = pytest.mark.processes

RANKS = 2


class Trained(nn.Module):
    """Towers and loss in one module, as the Trainer wraps them. The towers are plain: what is tested is the gathering,
    and processes that need not import CLIP start in half the time.
    """

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 8))
        self.text = nn.Linear(5, 8)
        self.loss = InfoNCE(learned=True, reference_negatives=True)
        self.double()

    def forward(self, batch: TripletBatch) -> dict[str, Tensor]:
        reference, target = self.image(batch.reference), self.image(batch.target)
        query = reference + self.text(batch.text)
        return self.loss(
            ContrastiveEmbeddings(*(F.normalize(rows, dim=-1) for rows in (query, target, reference))), batch
        )


class System(L.LightningModule):
    """What a strategy wraps."""

    def __init__(self, trained: Trained) -> None:
        super().__init__()
        self.trained = trained

    def forward(self, batch: TripletBatch) -> dict[str, Tensor]:
        return self.trained(batch)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.linear = nn.Linear(16, 16)
        nn.init.normal_(self.norm.weight, mean=1.0)  # ones would be the same in bfloat16

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.norm(hidden)
        hidden = hidden + self.attention(normed, normed, normed, need_weights=False)[0]
        self.seen = {name: parameter.dtype for name, parameter in self.named_parameters()}
        return hidden + self.linear(hidden)


class Tower(nn.Module):
    """What can be sharded, in small: an embedding, blocks, a norm and a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.blocks = nn.Embedding(20, 16), nn.ModuleList(Block() for _ in range(2))
        self.norm, self.scale = nn.LayerNorm(16), nn.Parameter(torch.tensor(1.5))

    def forward(self, ids: Tensor, pieces: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return torch.cat([checkpoint(self.of_piece, piece, use_reentrant=False) for piece in ids.chunk(pieces)])

    def of_piece(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden).mean(dim=1) * self.scale


def towers_trained(number: int, pieces: int) -> dict[str, object]:
    """A tower trained for a step in bf16-mixed, sharded and gathered as one if there are pieces; and not sharded, on
    the batches of both ranks.
    """
    torch.manual_seed(number)
    sharded = Tower()
    torch.manual_seed(0)
    whole = Tower()
    ids = torch.randint(20, (RANKS, 8, 5))
    shard_model(sharded, torch.device("cpu"), (), as_one=pieces > 1, bf16=True)
    output = sharded(ids[number], pieces)
    output.square().mean().backward()
    outputs = [whole(part, pieces) for part in ids]
    torch.stack([part.square().mean() for part in outputs]).mean().backward()
    of_sharded = {name: gradient_of(parameter) for name, parameter in sharded.named_parameters()}
    return {
        "output": output.detach(),
        "whole output": outputs[number].detach(),
        "types": sharded.blocks[0].seen,
        "gradients": of_sharded,
        "whole gradients": {name: parameter.grad for name, parameter in whole.named_parameters()},
    }


def gradient_of(parameter: nn.Parameter) -> Tensor:
    return parameter.grad.full_tensor() if isinstance(parameter.grad, DTensor) else parameter.grad


def triplets(rows: slice = slice(None)) -> TripletBatch:
    """Rows of eight triplets; targets 100 and 101 occur in both halves, and one is also a reference."""
    generator = torch.Generator().manual_seed(0)
    reference, target, text = (torch.randn(8, width, dtype=torch.float64, generator=generator) for width in (12, 12, 5))
    return TripletBatch(
        query_ids=tuple("abcdefgh"[rows]),
        reference=reference[rows],
        target=target[rows],
        text=text[rows],
        reference_keys=torch.tensor([1, 2, 3, 4, 5, 6, 7, 100])[rows],
        target_keys=torch.tensor([100, 101, 102, 103, 104, 101, 100, 105])[rows],
    )


def gradients(trained: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): p.grad for name, p in trained.named_parameters() if p.requires_grad}


def of_kinds(positions: Tensor) -> dict[str, Tensor]:
    """Rows of several types and shapes that are functions of their positions."""
    return {
        "half": (positions[:, None] / torch.tensor([3.0, 7.0])).half(),
        "number": positions * 2**40,
        "flag": positions > 2,
        "square": (positions[:, None, None] + torch.arange(4.0).view(2, 2)).double(),
        "narrow": torch.empty(len(positions), 0),
    }


def weighed(number: int | None = None) -> TripletWeights:
    """Weights of the eight triplets after four batches of them, of which a rank sees its half."""
    weights = TripletWeights(warm_up=1, every=2)
    rows = slice(None) if number is None else slice(4 * number, 4 * number + 4)
    for step in range(4):
        batch = replace(triplets(rows), texts=tuple("abcdefgh"[rows]))
        values = torch.rand(8, 2, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        weights.note(weights.weighed(batch), values[rows])
    return weights


def message_of(positions: list[int], rows: list[float], total: int) -> str:
    try:
        gather_rows(torch.tensor(positions, dtype=torch.long), {"value": torch.tensor(rows)}, total, "queries")
    except ValueError as error:
        return str(error)
    return "no error"


def work(number: int, folder: str) -> None:
    """What each of the ranks does; what it saw is saved for the tests."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=RANKS)
    seen: dict[str, object] = {"rank": rank(), "world_size": world_size()}

    trained = DistributedDataParallel(Trained())
    terms = trained(triplets(slice(4 * number, 4 * number + 4)))
    terms["loss"].backward()
    seen["terms"] = {name: value.detach() for name, value in terms.items()}
    seen["gradients"] = gradients(trained)

    strategy = DataParallelStrategy("bf16")
    strategy.parallel_devices, strategy.cluster_environment = [torch.device("cpu")], LightningEnvironment()
    strategy.model = System(Trained())
    strategy.configure_ddp()
    strategy.model(triplets(slice(4 * number, 4 * number + 4)))["loss"].backward()
    seen["compressed"] = gradients(strategy.model.module.trained)

    seen["towers"] = [towers_trained(number, pieces) for pieces in (1, 4)]

    rows = torch.arange(6.0).view(2, 3).T + 10 * number  # not contiguous
    seen["gathered"] = gather(rows)
    local = rows.clone().requires_grad_()
    everything = gather_with_gradient(local)
    incoming = torch.arange(12.0).view(6, 2) * (number + 1)
    kept = incoming.clone()
    everything.backward(incoming)
    seen["gradient"], seen["incoming unchanged"] = local.grad, torch.equal(incoming, kept)

    seen["of all"] = of_all_ranks(f"rank {number}")
    seen["weights"] = weighed(number).state_dict()

    uneven = (
        ([3, 0, 4], [[3.0, 30.0], [0.0, 0.0], [4.0, 40.0]]) if number == 0 else ([1, 2], [[1.0, 10.0], [2.0, 20.0]])
    )
    one_empty = (list(range(5)), [[i, 10.0 * i] for i in range(5)]) if number == 0 else ([], [])
    repeated = (
        ([0, 1, 2, 3], [[i, 10.0 * i] for i in range(4)]) if number == 0 else ([4, 3], [[4.0, 40.0], [3.0, 30.0]])
    )
    for name, (positions, values) in {"uneven": uneven, "one empty": one_empty, "repeated": repeated}.items():
        mapping = {"value": torch.tensor(values, dtype=torch.float32)} if values else {}
        seen[name] = gather_rows(torch.tensor(positions, dtype=torch.long), mapping, 5, "queries")["value"]
    seen["missing"] = message_of([0, 1], [0.0, 1.0], 5) if number == 0 else message_of([4], [4.0], 5)
    seen["contradiction"] = message_of([0, 1], [0.0, 1.0], 2) if number == 0 else message_of([1], [1.5], 2)

    distributed._PART_BYTES = 20  # one row of most kinds at a time
    positions = torch.tensor([4, 0, 3] if number == 0 else [2, 1])
    seen["kinds"] = gather_rows(positions, of_kinds(positions), 5, "queries")
    nearly = {"value": torch.tensor([0.0, 1.0] if number == 0 else [1.005, 2.0])}
    seen["nearly"] = gather_rows(torch.tensor([0, 1] if number == 0 else [1, 2]), nearly, 3, "queries")["value"]

    seen["any"] = [any_rank(flag) for flag in (False, number == 0, number == 1, True)]
    seen["smallest"] = [smallest(number + 3), smallest(5 - number)]

    def fail_on_second() -> int:
        if number == 1:
            raise ValueError("a full disk")
        return number

    seen["done"] = on_every_rank(lambda: number)
    try:
        on_every_rank(fail_on_second)
    except (ValueError, RuntimeError) as error:
        seen["failed"] = str(error)
    torch.save(seen, Path(folder) / f"{number}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What two processes saw."""
    folder = tmp_path_factory.mktemp("ranks")
    # Not forked from this process, whose autograd has run; from one that has imported torch and done nothing yet.
    warm.use_for_multiprocessing()
    start_processes(work, (str(folder),), nprocs=RANKS, start_method="forkserver")
    return [torch.load(folder / f"{number}.pt", weights_only=True) for number in range(RANKS)]


# ------------------------------------------------------------------------------------------- two processes


def test_every_rank_knows_its_number(ranks):
    assert [(seen["rank"], seen["world_size"]) for seen in ranks] == [(0, 2), (1, 2)]


def test_two_processes_train_as_one(ranks):
    trained = Trained()
    terms = trained(triplets())
    terms["loss"].backward()
    for name in ("loss", "query_to_target", "target_to_query", "negatives_per_query"):
        mean = torch.stack([seen["terms"][name] for seen in ranks]).mean()
        torch.testing.assert_close(mean, terms[name].detach(), rtol=0, atol=1e-12)
    for seen in ranks:
        torch.testing.assert_close(seen["gradients"], gradients(trained), rtol=0, atol=1e-12)
    assert all(gradient.any() for gradient in gradients(trained).values())


def test_compressed_gradients_are_sums_in_bfloat16(ranks):
    """Each process rounds its share, and so does the sum: to 2^-9 of the shares."""
    for seen in ranks:
        for name, gradient in seen["gradients"].items():
            compressed = seen["compressed"][name]
            assert compressed.dtype == gradient.dtype and torch.equal(compressed, compressed.bfloat16().double())
            torch.testing.assert_close(compressed, gradient, rtol=2e-2, atol=float(gradient.abs().max()) * 2e-2)
            assert not torch.equal(compressed, gradient)
        torch.testing.assert_close(seen["compressed"], ranks[0]["compressed"], rtol=0, atol=0)


def test_gradients_are_compressed_in_nothing_else():
    with pytest.raises(ValueError, match="compress_gradients=fp8 is not one of bf16, null"):
        DataParallelStrategy("fp8")


@pytest.mark.parametrize("case", [0, 1], ids=["whole", "pieces"])
def test_weights_gathered_in_bfloat16_change_nothing_under_autocast(ranks, case):
    for seen in ranks:
        tower = seen["towers"][case]
        assert torch.equal(tower["output"], tower["whole output"]) and tower["output"].dtype == torch.float32
        torch.testing.assert_close(tower["gradients"], tower["whole gradients"], rtol=1e-5, atol=1e-7)


def test_what_autocast_does_not_round_is_gathered_as_it_is(ranks):
    for name, dtype in ranks[0]["towers"][0]["types"].items():
        assert dtype == (torch.float32 if name.startswith("norm.") else torch.bfloat16), name


def test_rows_are_gathered_in_rank_order(ranks):
    local = torch.arange(6.0).view(2, 3).T
    for seen in ranks:
        assert torch.equal(seen["gathered"], torch.cat([local, local + 10]))


def test_triplets_are_weighed_by_what_all_ranks_have_seen(ranks):
    alone = weighed().state_dict()
    assert alone["weights"].min() < 0.5
    for seen in ranks:
        assert seen["of all"] == ["rank 0", "rank 1"]
        assert seen["weights"]["keys"] == alone["keys"] and seen["weights"]["batches"] == 4
        torch.testing.assert_close(seen["weights"]["totals"], alone["totals"], rtol=0, atol=1e-12)
        torch.testing.assert_close(seen["weights"]["weights"], alone["weights"], rtol=0, atol=1e-9)


def test_the_gradient_of_all_ranks_comes_back_to_the_owner(ranks):
    total = torch.arange(12.0).view(6, 2) * (1 + 2)
    assert torch.equal(ranks[0]["gradient"], total[:3]) and torch.equal(ranks[1]["gradient"], total[3:])
    assert all(seen["incoming unchanged"] for seen in ranks)


@pytest.mark.parametrize("case", ["uneven", "one empty", "repeated"])
def test_rows_of_any_rank_come_in_order_to_every_rank(ranks, case):
    expected = torch.tensor([[i, 10.0 * i] for i in range(5)])
    assert all(torch.equal(seen[case], expected) for seen in ranks)


def test_rows_of_every_type_and_shape_arrive_as_they_were(ranks):
    for seen in ranks:
        torch.testing.assert_close(seen["kinds"], of_kinds(torch.arange(5)), rtol=0, atol=0)


def test_of_rows_that_differ_by_rounding_the_lowest_ranks_is_taken(ranks):
    assert all(seen["nearly"].tolist() == [0.0, 1.0, 2.0] for seen in ranks)


def test_rows_that_nobody_computed_are_named_on_every_rank(ranks):
    for seen in ranks:
        assert seen["missing"] == "3 of 5 queries were computed; missing positions: [2, 3] (2 in all)"


def test_rows_that_contradict_each_other_are_named_on_every_rank(ranks):
    for seen in ranks:
        assert seen["contradiction"] == "queries [1] were computed twice with different results"


def test_a_flag_on_any_rank_is_a_flag_on_all(ranks):
    assert [seen["any"] for seen in ranks] == [[False, True, True, True]] * 2
    assert [seen["smallest"] for seen in ranks] == [[3, 4]] * 2


def test_work_that_fails_on_one_rank_fails_on_all(ranks):
    assert [seen["done"] for seen in ranks] == [0, 1]
    assert [seen["failed"] for seen in ranks] == ["another process has failed; its own message says why", "a full disk"]


# ------------------------------------------------------------------------------------------- one process


def test_without_a_process_group_there_is_one_rank():
    rows = torch.ones(2, 3)
    assert (rank(), world_size()) == (0, 1)
    assert gather(rows) is rows and gather_with_gradient(rows) is rows
    assert any_rank(True) and not any_rank(False) and smallest(3) == 3


def test_rows_of_one_process_are_put_in_order():
    rows = {"a": torch.tensor([[2.0], [0.0], [1.0]]), "b": torch.tensor([2, 0, 1])}
    merged = gather_rows(torch.tensor([2, 0, 1]), rows, 3, "queries")
    assert merged["a"].tolist() == [[0], [1], [2]] and merged["b"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("positions", "values", "message"),
    [
        ([0, 2], [0.0, 2.0], r"2 of 3 images were computed; missing positions: \[1\] \(1 in all\)"),
        ([], [], r"0 of 3 images were computed; missing positions: \[0, 1, 2\] \(3 in all\)"),
        ([0, 1, 2, 1], [0.0, 1.0, 2.0, 1.5], r"images \[1\] were computed twice with different results"),
        ([0, 1, 2, 3], [0.0, 1.0, 2.0, 3.0], r"images at position 3 were computed, but there are only 3"),
    ],
)
def test_rows_that_do_not_make_the_whole_are_an_error(positions, values, message):
    with pytest.raises(ValueError, match=message):
        gather_rows(torch.tensor(positions, dtype=torch.long), {"value": torch.tensor(values)}, 3, "images")


def test_the_same_row_twice_counts_once():
    merged = gather_rows(torch.tensor([1, 0, 1]), {"value": torch.tensor([1.0, 0.0, 1.0])}, 2, "queries")
    assert merged["value"].tolist() == [0, 1]
