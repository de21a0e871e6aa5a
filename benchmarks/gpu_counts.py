"""What a training step asks of a GPU, counted without one: kernels, bytes they move, copies from the host, waits of the
host, collectives, at real sizes.

`python benchmarks/gpu_counts.py [cir_256 fuser_9000 ...] [--json FILE]` runs real trainings on the fake GPU of
tests/fake_gpu (needs a CUDA build of torch and a C compiler): no value exists and nothing is timed. Bytes are those of
the inputs and outputs of every operator that is no view, as if nothing stayed in a cache; the peak is of what tensors
hold, without an allocator's gaps and libraries' own. The time on paper of an operator is the longer of its products at
70 % of 989 TFLOP/s and its bytes at 80 % of 3.35 TB/s (H100 SXM); attention counts as if it were not causal. What such
a sum leaves out: launches, waits, what kernels run together.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
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
VIT_B_32 = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "patch_size": 32, "width": 768, "layers": 12},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
TEXT_LENGTH = 32
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
        f"{row['kernels']:,.0f}",
        f"{row['bytes'] / 1e9:.1f}",
        f"{row['flops'] / 1e12:.2f}",
        f"{row['copies']:.0f} ({row['copied'] / 1e6:.1f} MB)",
        f"{sum(row['waits'].values())}",
        ", ".join(f"{count:.0f} {kind}" for kind, count in sorted(row["collectives"].items())) or "none",
        f"{row['sent'] / 1e6:.1f}",
        f"{row['peak'] / 2**30:.1f}",
        f"{row['paper_ms']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def counted(make_system: Any, make_batch: Any, **settings: Any) -> dict[str, Any]:
    """The counts of a step of a real Trainer with the real callbacks, after the first one."""
    from counts import Counts
    from torch.utils.flop_counter import flop_registry
    from trainings import COUNTED, train

    class OnPaper(Counts):
        def clear(self) -> None:
            super().clear()
            self.flops, self.seconds = 0, 0.0

        def count(self, function: Any, name: str, args: tuple, kwargs: dict, result: Any, moved: int) -> None:
            super().count(function, name, args, kwargs, result, moved)
            formula = flop_registry.get(function._overloadpacket)
            if "varlen" in name:
                flops = _of_examples(name, args)
            else:
                flops = 0 if formula is None else int(formula(*args, **kwargs, out_val=result))
            self.flops += flops
            self.seconds += max(flops / PRODUCTS_PER_SECOND, moved / BYTES_PER_SECOND)

    counts = OnPaper()
    found = train(make_system, make_batch, counts, **settings)
    return {
        "kernels": found["kernels"], "bytes": counts.bytes / COUNTED, "flops": counts.flops / COUNTED,
        "copies": found["sent"]["copies"], "copied": found["sent"]["bytes"], "waits": found["waits"],
        "collectives": {kind: times / COUNTED for kind, times in counts.collectives.items() if kind.endswith("cuda")},
        "sent": sum(size for kind, size in counts.sent.items() if kind.endswith("cuda")) / COUNTED,
        "peak": counts.peak, "paper_ms": counts.seconds / COUNTED * 1e3,
        "most": [(name, times / COUNTED) for name, times in counts.kernels.most_common(40)],
    }  # fmt: skip


def _of_examples(name: str, args: tuple) -> int:
    """Of queries, keys, values (T, heads, E); backward two and a half times as many products."""
    query = next(tensor for tensor in args if getattr(tensor, "ndim", 0) == 3)
    forward = 4 * query.shape[1] * query.shape[2] * sum(length**2 for length in EXAMPLES)
    return forward * 5 // 2 if "backward" in name else forward


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
    prepared()
    from sharded import rank_11_of_64

    with rank_11_of_64() as place:
        return cir(256, **place)


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
