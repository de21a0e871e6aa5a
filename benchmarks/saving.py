"""What a checkpoint takes from the training: one that is waited for against one that is written in a thread.

`python benchmarks/saving.py [--megabytes 400] [--steps 10] [--folder F]` trains linear layers with AdamW on random
numbers; a checkpoint of weights and moments has that many megabytes. A rival is a save and the steps after it, which
must take longer than the writing: what is left of it would be the next rival's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from diptych.parallel.checkpoint_thread import ThreadedCheckpointIO
from diptych.parallel.checkpoints import AtomicCheckpointIO
from side_by_side import interleave, machine_line

WIDTH, BATCH = 1024, 256


def main() -> None:
    """Prints the seconds of each rival, and what a save adds to steps alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--folder", type=Path, help="on the disk that is written to; by default the system's temporary one"
    )
    plan = parser.parse_args()
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(max(1, plan.megabytes * 10**6 // (12 * WIDTH**2)))))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    threaded = ThreadedCheckpointIO()

    with tempfile.TemporaryDirectory(dir=plan.folder) as folder:
        path = Path(folder) / "last.ckpt"

        def run(save: Callable[[dict, Path], None] | None) -> None:
            if save is not None:
                save({"state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}, path)
            for _ in range(plan.steps):
                optimizer.zero_grad()
                model(torch.randn(BATCH, WIDTH)).square().mean().backward()
                optimizer.step()

        rivals = {
            "steps alone": lambda: run(None),
            "waited for": lambda: run(AtomicCheckpointIO().save_checkpoint),
            "in a thread": lambda: run(threaded.save_checkpoint),
        }
        found = interleave(rivals, plan.repeats)
        threaded.teardown()
        size = path.stat().st_size / 1e6
    print(f"{machine_line()}\n{size:.0f} MB, {plan.steps} steps after each save; seconds: median (fastest, slowest)")
    for name, (median, fastest, slowest) in found.items():
        added = median - found["steps alone"][0]
        print(f"{name:12} {median:6.2f} ({fastest:.2f}, {slowest:.2f})   the save adds {added:5.2f}")


if __name__ == "__main__":
    main()
