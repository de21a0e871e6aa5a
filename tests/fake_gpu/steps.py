"""Run by test_fake_gpu.py in a process of its own: prints one JSON line a check, `{"check": ..., ...}`."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import passes

import fake_gpu

fake_gpu.prepare()

import lightning as L  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402
from torch.testing._internal.distributed.fake_pg import FakeStore  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from torch.utils.checkpoint import get_device_states  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from transformers import masking_utils  # noqa: E402

from diptych.callbacks.progress import RunProgressBar  # noqa: E402
from diptych.callbacks.stop_on_signal import StopOnSignal  # noqa: E402
from diptych.callbacks.training_monitor import TrainingMonitor  # noqa: E402
from diptych.config.building import chosen_precision  # noqa: E402
from diptych.contracts.models import TextTokens  # noqa: E402
from diptych.contracts.news import FusionBatch, FusionExample  # noqa: E402
from diptych.contracts.retrieval import GalleryBatch, PictureRows, QueryBatch, TripletBatch  # noqa: E402
from diptych.data.triplets.augmentation import (  # noqa: E402
    AugmentationSequence,
    ColorJitter,
    RandomCropResize,
)
from diptych.data.triplets.resident_pictures import ResidentPictures  # noqa: E402
from diptych.losses.causal_lm import ChunkedCausalLMLoss  # noqa: E402
from diptych.losses.info_nce import InfoNCE  # noqa: E402
from diptych.models.backbones.beit3 import BEiT3, BEiT3Sizes  # noqa: E402
from diptych.models.backbones.beit3_encoder import BEiT3Encoder  # noqa: E402
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing  # noqa: E402
from diptych.models.backbones.clip_encoder import CLIPEncoder  # noqa: E402
from diptych.models.backbones.encoder_dtype import settled_dtype  # noqa: E402
from diptych.models.composers import composed_model  # noqa: E402
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer  # noqa: E402
from diptych.models.fuser.recomputation import LayerWidths  # noqa: E402
from diptych.parallel.checkpoint_thread import HostCopies  # noqa: E402
from diptych.parallel.devices import prepare_gpu  # noqa: E402
from diptych.parallel.sharded_checkpoints import tensors  # noqa: E402
from diptych.parallel.sharding import ShardedStrategy  # noqa: E402
from diptych.stages.news.embed_photos import EmbedPhotos  # noqa: E402
from diptych.systems.caption_fuser import CaptionFuserSystem, CaptionJob, job_loader  # noqa: E402
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings  # noqa: E402
from diptych.systems.cir import CIRSystem  # noqa: E402
from diptych.systems.muon import MuonWithAdamW  # noqa: E402

B, LENGTH, STEPS = 8, 12, 3
ARCHITECTURE = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 128, "layers": 2, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
# Operators that compute nothing on the GPU.
NO_KERNELS = {
    *("device", "alias", "detach", "expand", "permute", "select", "slice", "split", "squeeze", "t", "transpose"),
    *("unbind", "unsqueeze", "view", "_unsafe_view"),
}
ADAMW = partial(torch.optim.AdamW, fused=True)
MUON = partial(MuonWithAdamW, lr=0.02, adamw_lr=1e-3, weight_decay=0.1, momentum=0.95, betas=(0.9, 0.98))


def retrieval_system(
    micro_batch_size: int | None, dropout: float = 0.0, optimizer: Any = ADAMW, recomputed: bool = False
) -> CIRSystem:
    preprocessing = CLIPPreprocessing("tiny", architecture=ARCHITECTURE)
    backbone = CLIPBackbone("tiny", preprocessing, architecture=ARCHITECTURE, activation_checkpointing=recomputed)
    model = CrossAttentionComposer(backbone, num_layers=2, dropout=dropout)
    return CIRSystem(model, InfoNCE(learned=True, reference_negatives=True), {}, optimizer, None, micro_batch_size)


def triplets() -> TripletBatch:
    """Eight triplets, in which the first picture occurs twice."""
    pictures = [torch.zeros(B, 3, 64, 64, dtype=torch.uint8) for _ in range(2)]
    text = TextTokens(torch.zeros(B, LENGTH, dtype=torch.long), torch.ones(B, LENGTH, dtype=torch.bool))
    return TripletBatch(tuple(map(str, range(B))), *pictures, text, *KEYS)


def pictures_on_the_gpu() -> dict[str, Any]:
    """As `triplets` in pieces, of pictures that the GPU holds, and augments."""
    augmentation = AugmentationSequence([RandomCropResize(), ColorJitter()])
    rows = torch.tensor([0, *range(B - 1)]), torch.arange(B) + B
    random = torch.rand(B, augmentation.num_random, generator=torch.Generator().manual_seed(0))
    named = {name: PictureRows(part, random) for name, part in zip(("reference", "target"), rows, strict=True)}
    kept: list[ResidentPictures] = []

    def after_transfer(batch: TripletBatch, number: int) -> TripletBatch:
        if not kept:
            pixels = torch.zeros(100, 3, 64, 64, dtype=torch.uint8, device="cuda")
            kept.append(ResidentPictures(pixels, {}, augmentation))
        return kept[0].in_place_of_rows(batch)

    def batch() -> TripletBatch:
        return replace(triplets(), **named)

    return train(lambda: retrieval_system(4), batch, after_transfer=after_transfer, precision="bf16-mixed")


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

    def __init__(self, make: Any, after_transfer: Any = None) -> None:
        super().__init__()
        self.make = make
        if after_transfer:
            self.on_after_batch_transfer = after_transfer

    max_tokens_per_batch = 128

    def labelled_tokens_per_batch(self, number: int) -> float:
        return 100.0

    def train_dataloader(self):
        return torch.utils.data.DataLoader(range(STEPS), batch_size=None, collate_fn=lambda _: self.make())


class WithinSteps(L.Callback):
    """What is waited for in all steps but the first."""

    def __init__(self, watch, *others):
        self.watch, self.waits, self.operators, self.sent = watch, {}, {}, {}
        self.counters = [
            counter
            for mode in (watch, *others)
            for name, counter in vars(mode).items()
            if isinstance(counter, Counter) and name != "sent"
        ]

    def on_train_batch_start(self, trainer, module, batch, number):
        if number == 1:
            for counter in self.counters:
                counter.clear()

    def on_train_batch_end(self, trainer, module, outputs, batch, number):
        if number == 0:
            self.watch.sent.clear()  # before the next batch is sent

    def on_train_end(self, trainer, module):
        self.waits = {f"{what} {place}": count for (what, place), count in self.watch.waits.items()}
        self.operators, self.sent = (
            {name: count / (STEPS - 1) for name, count in found.items()}
            for found in (self.watch.operators, self.watch.sent)
        )


def train(
    make_system: Any, make_batch: Any, *counters: Any, after_transfer: Any = None, **settings: Any
) -> dict[str, Any]:
    """A real Trainer with the real callbacks, for three steps. `counters` are further dispatch modes."""
    numbers = {"has_len": STEPS, "any_rank": 0}  # batches there are; processes that were asked to stop
    watch = fake_gpu.watch({"item": lambda place, _: next((n for part, n in numbers.items() if part in place), 1)})
    within = WithinSteps(watch, *counters)
    with FakeTensorMode(allow_non_fake_inputs=True):
        system = make_system()
        system.cpu = lambda: system  # at the end
        trainer = L.Trainer(
            accelerator="gpu", devices=1, max_steps=STEPS, log_every_n_steps=100, logger=False,
            enable_checkpointing=False, enable_model_summary=False, num_sanity_val_steps=0, **settings,
            callbacks=[StopOnSignal(), TrainingMonitor(), RunProgressBar(), within],
        )  # fmt: skip
        with ExitStack() as stack:
            for mode in (watch, *counters):
                stack.enter_context(mode)
            trainer.fit(system, datamodule=Batches(make_batch, after_transfer))
    return {
        "steps": trainer.global_step,
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": sorted(name for name in watch.operators if "attention" in name or "varlen" in name),
        "waits": within.waits,
        "operators": sum(within.operators.values()),
        "sent": within.sent,
    }


class Collectives(TorchDispatchMode):
    """Counts what a process hands over or gets, by kind and type: how often, and bytes of the larger side."""

    def __init__(self) -> None:
        super().__init__()
        self.times, self.bytes = Counter(), Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function.namespace in ("c10d", "_c10d_functional"):
            sizes = [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]
            if sizes:
                largest = max(sizes, key=lambda tensor: tensor.numel())
                key = f"{function.__name__.split('.')[0].strip('_')} {largest.dtype} {largest.device.type}"
                self.times[key] += 1
                self.bytes[key] += largest.numel() * largest.element_size()
        return function(*args, **(kwargs or {}))


def bytes_on_gpu(parameter: torch.nn.Parameter) -> int:
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return local.numel() * local.element_size() if local.is_cuda else 0


def on_rank_11_of_64(**settings: Any) -> dict[str, Any]:
    """Sharded over 64 processes that are not there, seen by one of them."""
    os.environ |= {"NODE_RANK": "11", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    torch.distributed.init_process_group("fake", store=FakeStore(), rank=11, world_size=64)
    collectives, strategy = Collectives(), ShardedStrategy("fake")
    strategy.broadcast = lambda value, src=0: value  # of Python objects, which would have to arrive
    system, held, broadcast = [], [], torch.distributed.broadcast

    def noted(tensor: torch.Tensor, source: int) -> None:
        held.append(sum(map(bytes_on_gpu, system[0].parameters())))
        broadcast(tensor, source)

    def make() -> CIRSystem:
        system.append(retrieval_system(recomputed=True, **settings))
        return system[0]

    torch.distributed.broadcast = noted
    try:
        found = train(
            make, triplets, collectives,
            strategy=strategy, num_nodes=64, precision="bf16-mixed", use_distributed_sampler=False,
        )  # fmt: skip
    finally:
        torch.distributed.broadcast = broadcast
        torch.distributed.destroy_process_group()
        for name in ("NODE_RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            os.environ.pop(name, None)
    found["collectives"] = {
        key: [times / (STEPS - 1), collectives.bytes[key] / (STEPS - 1)] for key, times in collectives.times.items()
    }
    found["peak_of_sharding"], found["held_in_training"] = max(held), sum(map(bytes_on_gpu, system[0].parameters()))
    return found


def fuser_system() -> CaptionFuserSystem:
    """A tiny Qwen3 with an adapter on all its linear layers."""
    fuser = passes.fuser_of(passes.NARROW, 2, rank=4)
    fuser.check_gradients = lambda: None  # asks for values
    return CaptionFuserSystem(fuser, ChunkedCausalLMLoss(16), None, {}, ADAMW)


def kernels_of_a_layer() -> dict[str, Any]:
    """What one more layer in each of CLIP's towers computes on the GPU under autocast, forward and backward."""

    def operators(layers: int) -> Counter[str]:
        architecture = {**ARCHITECTURE}
        for tower in ("vision_cfg", "text_cfg"):
            architecture[tower] = {**architecture[tower], "layers": layers}
        with FakeTensorMode(allow_non_fake_inputs=True), fake_gpu.watch() as watch:
            preprocessing = CLIPPreprocessing("tiny", architecture=architecture)
            backbone = CLIPBackbone("tiny", preprocessing, architecture=architecture).to("cuda")
            batch = triplets().to("cuda")
            watch.operators.clear()
            with torch.autocast("cuda", torch.bfloat16):
                image, text = backbone.encode_image(batch.reference), backbone.encode_text(batch.text)
            (image.tokens.sum() + text.tokens.sum()).backward()
        return watch.operators

    more = operators(2)
    more.subtract(operators(1))
    return {"kernels": {name: count for name, count in more.items() if count and name not in NO_KERNELS}}


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


def memory_of_layers() -> dict[str, Any]:
    """What the layers of a Qwen3 of 8B's widths keep between the passes, counted and by the formula."""
    widths = LayerWidths(4096, 4096, 1024, 12288, has_head_norms=True, rank=256, has_dropout=False)
    lengths, found = [2000, 3000, 4000], {}
    for again in (0, 1, 3):
        counted = passes.count(passes.WIDTHS_OF_8B, 3, lengths, recompute=again)["saved"]
        found[again] = counted / (sum(lengths) * widths.saved(3, again))
    return {"counted by formula": found}


def passes_of_a_layer() -> dict[str, Any]:
    """How many kernels a layer more is, computed again or not."""
    kernels = {
        (layers, again): passes.count(passes.NARROW, layers, [40, 60], rank=8, recompute=again * layers)["kernels"]
        for layers in (1, 3)
        for again in (0, 1)
    }
    return {"kernels": [(kernels[3, again] - kernels[1, again]) / 2 for again in (0, 1)]}


def precisions() -> dict[str, Any]:
    """What `auto` is on each of the GPUs, of a trainer and of an encoder."""
    found, encoders = {}, {}
    for number in range(torch.cuda.device_count()):
        torch.cuda.set_device(number)
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        found[capability] = chosen_precision(OmegaConf.create({"precision": "auto"}))
        encoders[capability] = settled_dtype({"dtype": "auto"})["dtype"]
    torch.cuda.set_device(0)
    return {"precisions": found, "encoders": encoders}


def photos() -> dict[str, Any]:
    """What the host waits for before it begins the next batch of photos, and the types of the encoder's weights."""
    watch = fake_gpu.watch()
    with FakeTensorMode(allow_non_fake_inputs=True), watch:
        clip, beit3 = CLIPEncoder(retrieval_system(None).model.backbone), BEiT3Encoder("tiny.pth", image_size=64)
        clip.load()
        beit3.model = BEiT3(BEiT3Sizes(16, 24, 2, 4, 8, 8, 70, 30)).bfloat16()
        pixels = torch.zeros(B, 3, 64, 64, dtype=torch.uint8, device="cuda:0")
        encoders = [clip.to("cuda:0"), beit3.to("cuda:0")]
        watch.waits.clear()
        for encoder in encoders:
            EmbedPhotos(None, encoder).predict(encoder, list("abcdefg"), pixels)
    types = sorted({str(parameter.dtype) for parameter in clip.parameters()})
    return {"waits": {f"{what} {place}": count for (what, place), count in watch.waits.items()}, "types": types}


def waits_of_a_save() -> dict[str, Any]:
    """What the host waits for while a checkpoint is copied, the second time; `tensors` is how many there are."""
    synchronized: list[Any] = []
    watch = fake_gpu.watch()
    copies = HostCopies()
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.MonkeyPatch.context() as patch, watch:
        system = retrieval_system(None).to("cuda:0")
        optimizer = ADAMW(system.parameters())
        for parameter in system.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        checkpoint = {"state_dict": system.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        copies.of(checkpoint)
        watch.waits.clear()
        patch.setattr(torch.cuda.Stream, "synchronize", lambda stream: synchronized.append(stream))
        copy = copies.of(checkpoint)
    on_gpu, on_host = (sum(tensor.is_cuda for _, tensor in tensors(content)) for content in (checkpoint, copy))
    return {"waits": sum(watch.waits.values()), "synchronized": len(synchronized), "tensors": on_gpu, "left": on_host}


CHECKS = {
    "plain": lambda: train(lambda: retrieval_system(None), triplets, precision="bf16-mixed"),
    "pieces": lambda: train(lambda: retrieval_system(4), triplets, precision="bf16-mixed"),
    "pictures": pictures_on_the_gpu,
    "clipped": lambda: train(lambda: retrieval_system(None), triplets, precision="bf16-mixed", gradient_clip_val=1.0),
    "fuser": lambda: train(fuser_system, lambda: FUSION, precision="bf16-mixed"),
    "sharded": lambda: on_rank_11_of_64(micro_batch_size=None),
    "sharded muon pieces": lambda: on_rank_11_of_64(micro_batch_size=4, optimizer=MUON),
    "layer": kernels_of_a_layer,
    "layers' memory": memory_of_layers,
    "layers' passes": passes_of_a_layer,
    "validation": lambda: evaluation("validate"),
    "test": lambda: evaluation("test"),
    "captions": lambda: captions(merged=False, do_sample=False),
    "sampled captions": lambda: captions(merged=True),
    "random states": random_states_of_pieces,
    "precisions": precisions,
    "save": waits_of_a_save,
    "photos": photos,
}

if __name__ == "__main__":
    prepare_gpu(torch.device("cuda:0"))
    for name, check in CHECKS.items():
        if len(sys.argv) < 2 or name in sys.argv[1:]:
            print(json.dumps({"check": name, **check()}), flush=True)  # noqa: T201
