"""The formulas of `benchmarks/scale.py` against what the code really sends, keeps and writes, at a small size."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore

from diptych.contracts.models import ImageSpec, TextTokens
from diptych.contracts.retrieval import ContrastiveEmbeddings, TripletBatch
from diptych.index.faiss_index import FaissIndex
from diptych.losses import info_nce
from diptych.parallel import distributed, sharding
from diptych.parallel.checkpoints import AtomicCheckpointIO
from diptych.photos.prepared_cache import PreparedCache

TESTS = Path(__file__).resolve().parent
for folder in (TESTS.parent / "benchmarks", TESTS / "fake_gpu"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: no file there may hide another module

from counts import Counts  # noqa: E402

import scale  # noqa: E402
import scale_formulas as formulas  # noqa: E402
import scale_rates  # noqa: E402
from scale import Range  # noqa: E402

BATCH, WIDTH, RANKS = 3, 8, 64


def test_bounds_take_the_worst_of_both_and_middles_stay_middles():
    a, b = Range(1, 2, 4), Range(10, 20, 50)
    assert a + b == Range(11, 22, 54)
    assert a * b == Range(10, 40, 200)
    assert b / a == Range(2.5, 10, 50)
    assert 2 * a + 1 == Range(3, 5, 9)
    assert 8 / a == Range(2, 4, 8)


def ring_all_gather(ranks: int) -> int:
    """Pieces that a rank sends until every rank has those of all, each handing on what it got last."""
    held, carried, sent = [{rank} for rank in range(ranks)], list(range(ranks)), 0
    while any(len(pieces) < ranks for pieces in held):
        carried = [carried[rank - 1] for rank in range(ranks)]
        for rank, piece in enumerate(carried):
            held[rank].add(piece)
        sent += 1
    return sent


def ring_reduce_scatter(ranks: int) -> int:
    """Pieces that a rank sends until every rank has one piece summed over all."""
    partial = [[{rank} for _ in range(ranks)] for rank in range(ranks)]  # whose numbers are in piece p on rank r
    for step in range(ranks - 1):
        moving = [(rank, (rank - step) % ranks) for rank in range(ranks)]
        for receiver, piece, summed in [((rank + 1) % ranks, p, set(partial[rank][p])) for rank, p in moving]:
            partial[receiver][piece] |= summed
    assert all(any(len(piece) == ranks for piece in pieces) for pieces in partial)
    return ranks - 1


@pytest.mark.parametrize("ranks", [2, 5, 64])
def test_ring_volumes_are_those_of_the_ring_played_through(ranks):
    piece = 7.0
    assert formulas.ring_all_gather_bytes(piece, ranks) == ring_all_gather(ranks) * piece
    pieces = ring_reduce_scatter(ranks) + ring_all_gather(ranks)
    assert formulas.ring_all_reduce_bytes(ranks * piece, ranks) == pytest.approx(pieces * piece)


class Collectives:
    """Stands for torch.distributed on rank 5 of 64: counts the bytes that the calls are about."""

    def __init__(self) -> None:
        self.gathered, self.reduced = 0, 0

    def all_gather_into_tensor(self, gathered: torch.Tensor, local: torch.Tensor) -> None:
        gathered.copy_(local.repeat(RANKS, *[1] * (local.ndim - 1)))
        self.gathered += local.numel() * local.element_size()

    def reduce_scatter_tensor(self, own: torch.Tensor, tensor: torch.Tensor) -> None:
        own.copy_(tensor[: len(own)])
        self.reduced += tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("with_reference", [False, True])
def test_the_loss_sends_what_the_formula_says(monkeypatch, with_reference):
    collectives = Collectives()
    monkeypatch.setattr(distributed, "dist", collectives)
    for module in (distributed, info_nce):
        monkeypatch.setattr(module, "rank", lambda: 5)
    monkeypatch.setattr(distributed, "world_size", lambda: RANKS)
    rows = [F.normalize(torch.randn(BATCH, WIDTH), dim=1).requires_grad_() for _ in range(3)]
    keys, pixels = torch.arange(BATCH), torch.zeros(BATCH, 0)
    words = TextTokens(torch.zeros(BATCH, 0, dtype=torch.long), torch.zeros(BATCH, 0, dtype=torch.bool))
    batch = TripletBatch(("a", "b", "c"), pixels, pixels, words, keys + 10, keys)
    loss = info_nce.InfoNCE(reference_negatives=with_reference)
    loss(ContrastiveEmbeddings(*rows), batch)["loss"].backward()
    forward, backward = formulas.gather_bytes(BATCH, WIDTH, RANKS, gathered=2 + with_reference)
    assert formulas.ring_all_gather_bytes(collectives.gathered, RANKS) == forward
    assert formulas.ring_reduce_scatter_bytes(collectives.reduced, RANKS) == pytest.approx(backward)
    local = info_nce.InfoNCE(gather_negatives=False)
    before = collectives.gathered + collectives.reduced
    local(ContrastiveEmbeddings(*rows), batch)["loss"].backward()
    assert collectives.gathered + collectives.reduced == before


class InBlocks(nn.Module):
    """A multiple of 64 of everything, so that nothing is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(128, 64), nn.LayerNorm(64)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()) for _ in range(2))
        self.last = nn.Linear(64, 64)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.words(ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.last(self.norm(hidden))


@pytest.mark.skipif(torch.__version__ < "2.15", reason="gathers all weights in float32")
def test_sharded_weights_and_gradients_are_what_the_formula_says():
    """On rank 11 of 64 that are not there."""
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=11, world_size=RANKS)
    try:
        model = InBlocks()
        parameters, gathered = sum(p.numel() for p in model.parameters()), scale_rates.gathered_bytes(model)
        sharding.shard_model(model, torch.device("cpu"), (), bf16=True)
        with Counts() as counts, torch.autocast("cpu", torch.bfloat16):
            model(torch.zeros(2, 4, dtype=torch.long)).sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert counts.sent.total() * (RANKS - 1) / RANKS == formulas.fsdp_bytes(parameters, gathered, RANKS)


def test_memory_and_checkpoint_of_adamw(tmp_path):
    model = nn.Linear(512, 511)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(2, 512)).sum().backward()
    optimizer.step()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    moments = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    kept = [*model.parameters(), *(parameter.grad for parameter in model.parameters()), *moments]
    assert sum(tensor.numel() * tensor.element_size() for tensor in kept) == formulas.adamw_bytes(parameters)
    assert formulas.adamw_bytes(parameters, 64) == formulas.adamw_bytes(parameters) / 64
    AtomicCheckpointIO().save_checkpoint(
        {"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}, tmp_path / "last.ckpt"
    )
    assert (tmp_path / "last.ckpt").stat().st_size == pytest.approx(formulas.checkpoint_bytes(parameters), rel=0.01)


def test_a_triplet_in_a_tar(tmp_path):
    sizes, number = (3000, 1, 5000, 511, 512, 513), 40
    (tmp_path / "record").write_bytes(b"x" * 200)
    with tarfile.open(tmp_path / "shard.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
        for copy in range(number):
            for size in (sizes[copy % 6], sizes[(copy + 1) % 6]):
                (tmp_path / "photo").write_bytes(b"x" * size)
                shard.add(tmp_path / "photo", f"{copy}.{size}.jpg")
            shard.add(tmp_path / "record", f"{copy}.json")
    expected = formulas.triplet_bytes(
        sum(sizes[copy % 6] + sizes[(copy + 1) % 6] for copy in range(number)) / number / 2
    )
    found = (tmp_path / "shard.tar").stat().st_size / number
    assert expected.low <= found <= expected.high + tarfile.RECORDSIZE / number


def test_a_triplet_in_the_prepared_cache(tmp_path):
    spec = ImageSpec(size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    (tmp_path / "photo").write_bytes(b"x")
    cache = PreparedCache(tmp_path / "cache", spec, "fast")
    cache.load_or_prepare(tmp_path / "photo", lambda path: torch.zeros(3, 16, 16, dtype=torch.uint8))
    (entry,) = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert 2 * entry.stat().st_size == formulas.prepared_bytes(16)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "formula"), [("hnsw", formulas.hnsw_bytes), ("ivf_pq", formulas.ivf_pq_bytes)])
def test_index_sizes_are_those_of_faiss(kind, formula):
    faiss = pytest.importorskip("faiss")
    vectors = np.random.default_rng(0).normal(size=(6_000, 64)).astype(np.float32)
    index = FaissIndex(kind)._build(faiss, vectors)
    assert len(faiss.serialize_index(index)) == pytest.approx(formula(6_000, 64), rel=0.01)
    assert formulas.exact_index_bytes(6_000, 64, 4) == vectors.nbytes


@pytest.mark.slow
def test_the_published_table_can_be_printed(tmp_path, capsys):
    scale.main(["--quick", "--markdown", "--width", "128", "--height", "96", "--folder", str(tmp_path)])
    lines = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = {cells[0].removeprefix("| "): cells[1:4] for cells in lines}
    assert rows["loss: sent by a GPU in a step, forward"][1] == "66.2"  # 2 x 63 x 256 x 512 x 4 bytes, and 63 x 2048
    assert rows["loss: sent by a GPU in a step, backward"][1] == "66.1"
    for low, middle, high in list(rows.values())[2:]:
        figures = [float(text.replace(",", "")) for text in (low or middle, middle, high or middle)]
        assert figures == sorted(figures)
        assert figures[0] > 0
    assert list(tmp_path.iterdir()) == []
