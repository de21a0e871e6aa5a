"""What a training step asks of a GPU, counted without one: kernels, bytes they move, copies from the host, waits of the
host, collectives, at real sizes.

`python benchmarks/gpu_counts.py [cir_256 fuser_9000 ...] [--json FILE]` runs real trainings on
the fake GPU of tests/fake_gpu (needs a CUDA build of torch and a C compiler): no value exists and nothing is timed.
Bytes are those of the inputs and outputs of every operator that is no view, as if nothing stayed in a cache; the peak
is of what tensors hold, without an allocator's gaps and libraries' own. The time on paper of an operator is the longer
of its products at 70 % of 989 TFLOP/s and its bytes at 80 % of 3.35 TB/s (H100 SXM); attention counts as if it were not
causal. What such a sum leaves out: launches, waits, what kernels run together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import weakref
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fake_gpu"))
import fake_gpu

PRODUCTS_PER_SECOND, BYTES_PER_SECOND = 0.7 * 989e12, 0.8 * 3.35e12
COLUMNS = [
    "a step of", "kernels", "GB moved", "TFLOP", "host to GPU", "waits", "collectives", "MB sent", "peak GiB",
    "ms (paper)",
]  # fmt: skip
STEPS = 2  # the second is counted
VIT_B_32 = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
TEXT_LENGTH = 32
NOTHING_TO_DO = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")
EXAMPLES = [3_100, 3_100, 2_800]  # tokens of the examples of a packed row: what openevents' evidence gives


def main() -> None:
    """Counts the cases, each in a process of its own, and prints a line each."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    arguments.add_argument("--json", type=Path, help="also written here")
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    cases = given.cases or list(CASES)
    if given.inside:
        print(json.dumps(CASES[cases[0]]()), flush=True)
        return
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = fake_gpu.environment(Path(folder), "9.0")
        for name in cases:  # each in a process of its own: a process group and a random state are for the whole of it
            command = [sys.executable, __file__, name, "--inside"]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{name} failed; see above")
            rows[name] = json.loads(done.stdout.splitlines()[-1])
            print(("" if len(rows) > 1 else _heading()) + _line(name, rows[name]), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def _heading() -> str:
    return f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"


def _line(name: str, row: dict[str, Any]) -> str:
    cells = [
        name,
        f"{row['kernels']:,}",
        f"{row['bytes'] / 1e9:.1f}",
        f"{row['flops'] / 1e12:.2f}",
        f"{row['copies']} ({row['copied'] / 1e6:.1f} MB)",
        f"{sum(row['waits'].values())}",
        ", ".join(f"{count} {kind}" for kind, count in sorted(row["collectives"].items())) or "none",
        f"{row['sent'] / 1e6:.1f}",
        f"{row['peak'] / 2**30:.1f}",
        f"{row['paper_ms']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def counts() -> Any:
    """A dispatch mode that counts operators on the GPU. `clear()` begins anew; `row()` is what was counted."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    class Counts(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self._alive: dict[weakref.ref, int] = {}
            self.allocated = self.peak = 0
            self.clear()

        def clear(self) -> None:
            self.kernels, self.collectives = Counter(), Counter()
            self.bytes = self.flops = self.copies = self.copied = self.sent = 0
            self.seconds, self.peak = 0.0, self.allocated

        def row(self) -> dict[str, Any]:
            return {
                "kernels": sum(self.kernels.values()), "bytes": self.bytes, "flops": self.flops,
                "copies": self.copies, "copied": self.copied, "collectives": dict(self.collectives),
                "sent": self.sent, "peak": self.peak, "paper_ms": self.seconds * 1e3,
                "most": self.kernels.most_common(40),
            }  # fmt: skip

        def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            result = function(*args, **(kwargs or {}))
            read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
            if any(tensor.is_cuda for tensor in (*read, *made)):
                self._allocate(made)
                self._count(function, args, kwargs or {}, read, made, result)
            return result

        def _allocate(self, made: list) -> None:
            for storage in {tensor.untyped_storage() for tensor in made if tensor.is_cuda}:
                known = weakref.ref(storage)
                if known not in self._alive:
                    self._alive[weakref.ref(storage, self._free)] = storage.nbytes()
                    self.allocated += storage.nbytes()
            self.peak = max(self.peak, self.allocated)

        def _free(self, storage: weakref.ref) -> None:
            self.allocated -= self._alive.pop(storage)

        def _count(self, function: Any, args: tuple, kwargs: dict, read: list, made: list, result: Any) -> None:
            name = function.__name__.split(".")[0]
            if function.is_view or function.namespace == "prim" or name in NOTHING_TO_DO:
                return
            if function.namespace in ("c10d", "_c10d_functional"):
                if name not in ("wait_tensor", "barrier"):
                    largest = max((tensor for tensor in (*read, *made)), key=lambda t: t.nbytes, default=None)
                    dtype = "" if largest is None else f" {str(largest.dtype).removeprefix('torch.')}"
                    self.collectives[name.strip("_") + dtype] += 1
                    self.sent += 0 if largest is None else largest.nbytes
                return
            moved = sum(tensor.nbytes for tensor in {id(tensor): tensor for tensor in (*read, *made)}.values())
            if name in ("copy_", "_to_copy") and not all(tensor.is_cuda for tensor in (*read, *made)):
                self.copies += 1
                self.copied += made[0].nbytes
                return
            flops = self._flops(function, name, args, kwargs, read, result)
            self.kernels[name] += 1
            self.bytes += moved
            self.flops += flops
            self.seconds += max(flops / PRODUCTS_PER_SECOND, moved / BYTES_PER_SECOND)

        def _flops(self, function: Any, name: str, args: tuple, kwargs: dict, read: list, result: Any) -> int:
            if "varlen" in name:  # queries, keys, values (T, heads, E); backward: two and a half times as many products
                query = next(tensor for tensor in read if tensor.ndim == 3)
                forward = 4 * query.shape[1] * query.shape[2] * sum(length**2 for length in EXAMPLES)
                return forward * 5 // 2 if "backward" in name else forward
            formula = flop_registry.get(function._overloadpacket)
            if formula is None:
                return 0
            return int(formula(*args, **kwargs, out_val=result))

    return Counts()


def counted(make_system: Any, make_batch: Any, unique: int | None = None, **settings: Any) -> dict[str, Any]:
    """The counts of the second step of a real Trainer with the real callbacks."""
    import lightning as L
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from diptych.callbacks.progress import RunProgressBar
    from diptych.callbacks.stop_on_signal import StopOnSignal
    from diptych.callbacks.training_monitor import TrainingMonitor

    count, watch = counts(), fake_gpu.watch({"item": lambda place, tensor: STEPS if "has_len" in place else 0})

    class Batches(L.LightningDataModule):
        epoch_batches, max_tokens_per_batch = 1.0, sum(EXAMPLES)

        def labelled_tokens_per_batch(self, number: int) -> float:
            return 100.0

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(range(STEPS), batch_size=None, collate_fn=lambda _: make_batch())

    class SecondStep(L.Callback):
        """From the end of a step to that of the next: the batch's way to the GPU is a part of it."""

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
            self.row = {**count.row(), "waits": {" ".join(key): times for key, times in watch.waits.items()}}
            count.clear()
            watch.waits.clear()

    second = SecondStep()
    settings = {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed", **settings}
    with FakeTensorMode(allow_non_fake_inputs=True):
        system = make_system()
        system.cpu = lambda: system
        trainer = L.Trainer(
            max_steps=STEPS, log_every_n_steps=100, logger=False, enable_checkpointing=False,
            enable_model_summary=False, num_sanity_val_steps=0, enable_progress_bar=True, **settings,
            callbacks=[StopOnSignal(), TrainingMonitor(), RunProgressBar(), second],
        )  # fmt: skip
        with count, watch, contextlib.redirect_stdout(sys.stderr):
            trainer.fit(system, datamodule=Batches())
    return second.row


def cir(batch_size: int, micro_batch_size: int | None = None, **settings: Any) -> dict[str, Any]:
    """ViT-B/32 with the cross-attention composer and InfoNCE, pictures of 224 pixels, texts of 32 tokens."""
    prepared()
    import torch

    from diptych.contracts.models import TextTokens
    from diptych.contracts.retrieval import TripletBatch
    from diptych.losses.info_nce import InfoNCE
    from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
    from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
    from diptych.systems.cir import CIRSystem

    keys = torch.arange(batch_size), torch.arange(batch_size) + batch_size

    def system() -> CIRSystem:
        preprocessing = CLIPPreprocessing("ViT-B-32", architecture=VIT_B_32)
        backbone = CLIPBackbone("ViT-B-32", preprocessing, architecture=VIT_B_32)
        model = CrossAttentionComposer(backbone, num_layers=4)
        loss, adamw = InfoNCE(learned=True, reference_negatives=True), partial(torch.optim.AdamW, fused=True)
        return CIRSystem(model, loss, {}, adamw, None, micro_batch_size)

    def batch() -> TripletBatch:
        pictures = [torch.zeros(batch_size, 3, 224, 224, dtype=torch.uint8) for _ in range(2)]
        ids = torch.zeros(batch_size, TEXT_LENGTH, dtype=torch.long)
        text = TextTokens(ids, torch.ones_like(ids, dtype=torch.bool))
        return TripletBatch(tuple(map(str, range(batch_size))), *pictures, text, *keys)

    return counted(system, batch, **settings)


def sharded() -> dict[str, Any]:
    """As `cir(256)` on one GPU of 64, each on a machine of its own, with weights, gradients and moments sharded."""
    import os

    import torch

    from diptych.parallel.sharding import ShardedStrategy

    prepared()
    from torch.testing._internal.distributed.fake_pg import FakeStore

    os.environ |= {"NODE_RANK": "11", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=11, world_size=64)
    strategy = ShardedStrategy("fake")
    strategy.broadcast = lambda value, src=0: value  # of Python objects, which would have to arrive
    return cir(256, strategy=strategy, num_nodes=64, use_distributed_sampler=False)


def fuser(recompute: int) -> dict[str, Any]:
    """Qwen3-8B in bfloat16 with an adapter of rank 256, one packed row of 9,000 tokens."""
    prepared()
    import passes
    import torch

    from diptych.contracts.news import FusionBatch
    from diptych.losses.causal_lm import ChunkedCausalLMLoss
    from diptych.systems.caption_fuser import CaptionFuserSystem

    segments = torch.repeat_interleave(torch.arange(len(EXAMPLES)) + 1, torch.tensor(EXAMPLES))[None]
    numbers = torch.arange(segments.numel())[None]
    row = FusionBatch(tuple(map(str, EXAMPLES)), numbers, numbers, numbers, segments)

    def system() -> CaptionFuserSystem:
        model = passes.fuser_of(passes.WIDTHS_OF_8B, 36, rank=256, recompute=recompute)
        model.check_gradients = lambda: None  # asks for values
        adamw = partial(torch.optim.AdamW, fused=True)
        return CaptionFuserSystem(model, ChunkedCausalLMLoss(1024), None, {}, adamw)

    return counted(system, lambda: row)


def prepared() -> None:
    """The process as a command prepares it."""
    fake_gpu.prepare()
    import torch

    from diptych.parallel.devices import prepare_gpu

    prepare_gpu(torch.device("cuda:0"))


CASES = {
    "cir_256": lambda: cir(256),
    "cir_1024_in_pieces": lambda: cir(1024, 256),
    "cir_256_sharded_over_64": sharded,
    "fuser_9000": lambda: fuser(recompute=36),
    "fuser_9000_nothing_twice": lambda: fuser(recompute=0),
}

if __name__ == "__main__":
    main()
