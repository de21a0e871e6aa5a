"""Run by test_fake_gpu.py in a process of its own: prints one JSON line a check, `{"check": ..., ...}`."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fake_gpu

fake_gpu.prepare()

import lightning as L  # noqa: E402
import torch  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.utils.checkpoint import get_device_states  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from transformers import masking_utils  # noqa: E402

from diptych.callbacks.progress import RunProgressBar  # noqa: E402
from diptych.callbacks.stop_on_signal import StopOnSignal  # noqa: E402
from diptych.callbacks.training_monitor import TrainingMonitor  # noqa: E402
from diptych.config.building import chosen_precision  # noqa: E402
from diptych.contracts.models import TextTokens  # noqa: E402
from diptych.contracts.news import FusionBatch, FusionExample  # noqa: E402
from diptych.contracts.retrieval import GalleryBatch, QueryBatch, TripletBatch  # noqa: E402
from diptych.losses.causal_lm import ChunkedCausalLMLoss  # noqa: E402
from diptych.losses.info_nce import InfoNCE  # noqa: E402
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing  # noqa: E402
from diptych.models.composers import composed_model  # noqa: E402
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer  # noqa: E402
from diptych.models.fuser.qlora_fuser import QLoRAFuser  # noqa: E402
from diptych.parallel.devices import prepare_gpu  # noqa: E402
from diptych.systems.caption_fuser import CaptionFuserSystem, CaptionJob, job_loader  # noqa: E402
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings  # noqa: E402
from diptych.systems.cir import CIRSystem  # noqa: E402

B, LENGTH, STEPS = 8, 12, 3
ARCHITECTURE = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 2, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
ADAMW = partial(torch.optim.AdamW, fused=True)


def retrieval_system(micro_batch_size: int | None, dropout: float = 0.0) -> CIRSystem:
    preprocessing = CLIPPreprocessing("tiny", architecture=ARCHITECTURE)
    backbone = CLIPBackbone("tiny", preprocessing, architecture=ARCHITECTURE)
    model = CrossAttentionComposer(backbone, num_layers=2, dropout=dropout)
    return CIRSystem(model, InfoNCE(learned=True, reference_negatives=True), {}, ADAMW, None, micro_batch_size)


def triplets() -> TripletBatch:
    """Eight triplets, in which the first picture occurs twice."""
    pictures = [torch.zeros(B, 3, 64, 64, dtype=torch.uint8) for _ in range(2)]
    text = TextTokens(torch.zeros(B, LENGTH, dtype=torch.long), torch.ones(B, LENGTH, dtype=torch.bool))
    return TripletBatch(tuple(map(str, range(B))), *pictures, text, *KEYS)


def fusion_batch() -> FusionBatch:
    """Two rows of packed examples with pads; only lengths matter."""
    segments = torch.tensor([[1] * 20 + [2] * 30 + [0] * 14, [1] * 64])
    numbers = torch.arange(64).expand(2, -1)
    return FusionBatch(("a", "b", "c"), numbers, numbers, numbers, segments)


# Real ones, as a loader brings them: the host decides by them.
KEYS = torch.tensor([0, *range(B - 1)]), torch.arange(B) + B
FUSION = fusion_batch()


class Batches(L.LightningDataModule):
    epoch_batches = 1.0

    def __init__(self, make: Any) -> None:
        super().__init__()
        self.make = make

    def labelled_tokens_per_batch(self, number: int) -> float:
        return 100.0

    def train_dataloader(self):
        return torch.utils.data.DataLoader(range(STEPS), batch_size=None, collate_fn=lambda _: self.make())


class WithinSteps(L.Callback):
    """What is waited for in all steps but the first."""

    def __init__(self, watch):
        self.watch, self.waits, self.operators = watch, {}, {}

    def on_train_batch_start(self, trainer, module, batch, number):
        if number == 1:
            self.watch.waits.clear()
            self.watch.operators.clear()

    def on_train_end(self, trainer, module):
        self.waits = {f"{what} {place}": count for (what, place), count in self.watch.waits.items()}
        self.operators = {name: count / (STEPS - 1) for name, count in self.watch.operators.items()}


def train(make_system: Any, make_batch: Any, **settings: Any) -> dict[str, Any]:
    """A real Trainer with the real callbacks, for three steps."""
    watch = fake_gpu.watch({"item": lambda place, tensor: STEPS if "has_len" in place else 1})
    within = WithinSteps(watch)
    with FakeTensorMode(allow_non_fake_inputs=True):
        system = make_system()
        system.cpu = lambda: system  # at the end
        trainer = L.Trainer(
            accelerator="gpu", devices=1, max_steps=STEPS, log_every_n_steps=100, logger=False,
            enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, **settings,
            callbacks=[StopOnSignal(), TrainingMonitor(), RunProgressBar(), within],
        )  # fmt: skip
        with watch:
            trainer.fit(system, datamodule=Batches(make_batch))
    return {
        "steps": trainer.global_step,
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": sorted(name for name in watch.operators if "attention" in name or "varlen" in name),
        "waits": within.waits,
        "operators": sum(within.operators.values()),
    }


def fuser_system() -> CaptionFuserSystem:
    """A tiny Qwen3 with an adapter on all its linear layers."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    fuser = QLoRAFuser("tiny", quantization="none", rank=4)
    config = Qwen3Config(
        vocab_size=128, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16,
    )  # fmt: skip
    config._attn_implementation = "example_attention"
    fuser._adapt(Qwen3ForCausalLM(config).to(torch.bfloat16))
    fuser.check_gradients = lambda: None  # asks for values
    return CaptionFuserSystem(fuser, ChunkedCausalLMLoss(16), None, {}, ADAMW)


def evaluation(step: str) -> dict[str, Any]:
    """What the trainer's `validate` or `test` does with two batches of queries and two of pictures, up to ranking."""
    text = TextTokens(torch.zeros(B, LENGTH, dtype=torch.long), torch.ones(B, LENGTH, dtype=torch.bool))
    positions = torch.arange(B)
    pixels = torch.zeros(B, 3, 64, 64, dtype=torch.uint8)
    batches = [QueryBatch(positions, pixels, text), GalleryBatch(positions, pixels)] * 2
    watch = fake_gpu.watch({"item": lambda place, tensor: len(batches) if "has_len" in place else 1})
    with FakeTensorMode(allow_non_fake_inputs=True):
        system, collected = retrieval_system(None), {}

        def finish() -> None:  # without ranking, which asks for values
            system._collect()
            collected.update(system._collected[0])

        system.on_validation_epoch_end = system.on_test_epoch_end = finish
        system.cpu = lambda: system  # at the end
        trainer = L.Trainer(
            accelerator="gpu", devices=1, precision="bf16-mixed", logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        with watch:
            getattr(trainer, step)(system, DataLoader(batches, batch_size=None), verbose=False)
    return {
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": sorted(name for name in watch.operators if "attention" in name),
        "waits": {f"{what} {place}": count for (what, place), count in watch.waits.items() if "diptych" in place},
        "rows": {name: [f"{piece.device} {piece.dtype}" for piece in pieces] for name, pieces in collected.items()},
    }


class Numbers:
    """A tokenizer of numbers."""

    eos_token_id, pad_token_id = 1, 0

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return " ".join(map(str, ids))


def captions(merged: bool, **generation: Any) -> dict[str, Any]:
    """Captions of five prompts by the tiny Qwen3, as an evaluation has them written."""
    masking_utils.is_tracing = lambda tensor=None: False  # it takes fake tensors for a trace, and asks them nothing
    found, true = {}, ("has_len", "_survives_rounding")[: 1 + merged]
    for tokens in (4, 8):  # what a token costs is the difference
        # Padded prompts, no NaN, and always token 0.
        watch = fake_gpu.watch({"item": lambda place, tensor: int(any(name in place for name in true))})
        prompts = [FusionExample(str(length), tuple(range(2, 2 + length))) for length in (9, 7, 6, 5, 3)]
        with FakeTensorMode(allow_non_fake_inputs=True), TemporaryDirectory() as folder:
            system = fuser_system()
            system.generator = CaptionGenerator(GenerationSettings(max_new_tokens=tokens, **generation))
            job = CaptionJob("tiny", prompts, Numbers(), Path(folder) / "captions.jsonl", lambda _: {})
            trainer = L.Trainer(
                accelerator="gpu", devices=1, precision="bf16-mixed", logger=False, enable_progress_bar=False,
                enable_model_summary=False,
            )  # fmt: skip
            system.load_pretrained = lambda *_: None
            with watch:
                trainer.test(system, dataloaders=job_loader([job]), verbose=False)
        found[tokens] = watch
    return {
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": sorted(name for name in watch.operators if "attention" in name),
        "waits": {
            f"{what} {place}": (count - found[4].waits[what, place]) / 4
            for (what, place), count in watch.waits.items()
            if count > found[4].waits[what, place]
        },
        "operators a token": (found[8].operators.total() - found[4].operators.total()) / 4,
    }


def random_states_of_pieces() -> dict[str, Any]:
    """Of how many GPUs torch keeps the random state for the recomputation of a piece."""
    kept = []

    def noted(function: Any, *arguments: Any, **settings: Any) -> Any:
        kept.append(len(get_device_states(*arguments)[0]))
        return function(*arguments)

    composed_model.checkpoint = noted
    result = train(lambda: retrieval_system(4, dropout=0.1), triplets, precision="bf16-mixed")
    return {"steps": result["steps"], "kept": sorted(set(kept))}


def precisions() -> dict[str, Any]:
    """What `auto` is on each of the GPUs."""
    found = {}
    for number in range(torch.cuda.device_count()):
        torch.cuda.set_device(number)
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        found[capability] = chosen_precision(OmegaConf.create({"precision": "auto"}))
    torch.cuda.set_device(0)
    return {"precisions": found}


CHECKS = {
    "plain": lambda: train(lambda: retrieval_system(None), triplets, precision="bf16-mixed"),
    "pieces": lambda: train(lambda: retrieval_system(4), triplets, precision="bf16-mixed"),
    "clipped": lambda: train(lambda: retrieval_system(None), triplets, precision="bf16-mixed", gradient_clip_val=1.0),
    "fuser": lambda: train(fuser_system, lambda: FUSION, precision="bf16-mixed"),
    "validation": lambda: evaluation("validate"),
    "test": lambda: evaluation("test"),
    "captions": lambda: captions(merged=False, do_sample=False),
    "sampled captions": lambda: captions(merged=True),
    "random states": random_states_of_pieces,
    "precisions": precisions,
}

if __name__ == "__main__":
    prepare_gpu(torch.device("cuda:0"))
    for name, check in CHECKS.items():
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            print(json.dumps({"check": name, **check()}), flush=True)  # noqa: T201
