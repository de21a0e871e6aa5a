"""Run by test_fake_gpu.py in a process of its own: prints one JSON line a check."""

from __future__ import annotations

import contextlib
import json
import sys

import fake_gpu

fake_gpu.prepare()

import lightning as L  # noqa: E402
import torch  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

from diptych.callbacks.progress import RunProgressBar  # noqa: E402
from diptych.callbacks.stop_on_signal import StopOnSignal  # noqa: E402
from diptych.callbacks.training_monitor import TrainingMonitor  # noqa: E402
from diptych.contracts.models import TextTokens  # noqa: E402
from diptych.contracts.retrieval import TripletBatch  # noqa: E402
from diptych.losses.info_nce import InfoNCE  # noqa: E402
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing  # noqa: E402
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer  # noqa: E402
from diptych.systems.cir import CIRSystem  # noqa: E402

B, LENGTH, STEPS = 8, 12, 3
ARCHITECTURE = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 2, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def retrieval_system(micro_batch_size: int | None) -> CIRSystem:
    preprocessing = CLIPPreprocessing("tiny", architecture=ARCHITECTURE)
    model = CrossAttentionComposer(CLIPBackbone("tiny", preprocessing, architecture=ARCHITECTURE), num_layers=2)
    loss = InfoNCE(learned=True, reference_negatives=True)
    return CIRSystem(model, loss, {}, lambda groups: torch.optim.AdamW(groups, fused=True), None, micro_batch_size)


def triplets() -> TripletBatch:
    pictures = [torch.zeros(B, 3, 64, 64, dtype=torch.uint8) for _ in range(2)]
    text = TextTokens(torch.zeros(B, LENGTH, dtype=torch.long), torch.ones(B, LENGTH, dtype=torch.bool))
    keys = {"image_names": tuple(range(2 * B))} if "image_names" in TripletBatch.__dataclass_fields__ else {}
    return TripletBatch(tuple(map(str, range(B))), *pictures, text, torch.arange(B), torch.arange(B) + B, **keys)


class Batches(L.LightningDataModule):
    epoch_batches = 1.0

    def train_dataloader(self):
        return torch.utils.data.DataLoader(range(STEPS), batch_size=None, collate_fn=lambda _: triplets())


class WithinSteps(L.Callback):
    """What is waited for in all steps but the first."""

    def __init__(self, watch):
        self.watch, self.waits = watch, {}

    def on_train_batch_start(self, trainer, module, batch, number):
        if number == 1:
            self.watch.waits.clear()

    def on_train_end(self, trainer, module):
        self.waits = {f"{what} {place}": count for (what, place), count in self.watch.waits.items()}


def train(micro_batch_size: int | None) -> dict:
    """A real Trainer with the real callbacks, for three steps."""
    watch = fake_gpu.watch({"item": lambda place, tensor: STEPS if "has_len" in place else 1})
    within = WithinSteps(watch)
    with FakeTensorMode(allow_non_fake_inputs=True):
        system = retrieval_system(micro_batch_size)
        system.cpu = lambda: system  # at the end
        trainer = L.Trainer(
            accelerator="gpu", devices=1, precision="bf16-mixed", max_steps=STEPS, log_every_n_steps=100, logger=False,
            enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0,
            callbacks=[StopOnSignal(), TrainingMonitor(), RunProgressBar(refresh_rate=100), within],
        )  # fmt: skip
        with watch:
            trainer.fit(system, datamodule=Batches())
    kernels = sorted(name for name in watch.operators if "scaled_dot_product" in name)
    devices = sorted({str(parameter.device) for parameter in system.parameters()})
    return {"steps": trainer.global_step, "devices": devices, "kernels": kernels, "waits": within.waits}


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        from diptych.parallel.devices import prepare_gpu

        prepare_gpu(torch.device("cuda:0"))
    for micro_batch_size in (None, 4):
        print(json.dumps(train(micro_batch_size)))  # noqa: T201
    sys.stdout.flush()
