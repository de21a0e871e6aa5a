"""Embeddings of validation, test and pipelines, and captions."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import lightning as L
import torch
from counts import Counts
from tiny_parts import B, backbone, fuser_system, retrieval_system, words
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.data import DataLoader
from transformers import BatchFeature, masking_utils

import fake_gpu
from diptych.contracts.news import FusionExample
from diptych.contracts.retrieval import GalleryBatch, QueryBatch
from diptych.models.backbones.beit3 import BEiT3, BEiT3Sizes
from diptych.models.backbones.beit3_encoder import BEiT3Encoder
from diptych.models.backbones.clip_encoder import CLIPEncoder
from diptych.models.captioners.caption import DecodingSettings
from diptych.models.captioners.image_text_to_text import ImageTextCaptioner
from diptych.stages.news.embed_photos import EmbedPhotos
from diptych.systems.caption_fuser import CaptionJob, job_loader
from diptych.systems.caption_generation import CaptionGenerator, GenerationSettings


def trainer() -> L.Trainer:
    return L.Trainer(
        accelerator="gpu", devices=1, precision="bf16-mixed", logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )  # fmt: skip


def evaluation(step: str) -> dict[str, Any]:
    """What the trainer's `validate` or `test` does with two batches of queries and two of pictures, up to ranking."""
    positions = torch.arange(B)
    pixels = torch.zeros(B, 3, 64, 64, dtype=torch.uint8)
    batches = [QueryBatch(positions, pixels, words()), GalleryBatch(positions, pixels)] * 2
    watch = fake_gpu.watch({"item": lambda place, tensor: len(batches) if "has_len" in place else 1})
    with FakeTensorMode(allow_non_fake_inputs=True):
        system, collected = retrieval_system(None), {}

        def finish() -> None:  # without ranking, which asks for values
            system._collect()
            collected.update(system._collected[0])

        system.on_validation_epoch_end = system.on_test_epoch_end = finish
        system.cpu = lambda: system  # at the end
        with watch, Counts() as counts:
            getattr(trainer(), step)(system, DataLoader(batches, batch_size=None), verbose=False)
    return {
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": fake_gpu.attention(counts.kernels),
        "waits": {wait: count for wait, count in fake_gpu.readable(watch.waits).items() if "diptych" in wait},
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
            system.load_pretrained = lambda *_: None
            with watch, Counts() as counts:
                trainer().test(system, dataloaders=job_loader([job]), verbose=False)
        found[tokens] = watch.waits, counts.kernels.total()
    (few, kernels_of_few), (many, kernels_of_many) = found.values()
    return {
        "devices": sorted({str(parameter.device) for parameter in system.parameters()}),
        "attention": fake_gpu.attention(counts.kernels),
        "waits": {wait: count / 4 for wait, count in fake_gpu.readable(many - few).items()},
        "kernels a token": (kernels_of_many - kernels_of_few) / 4,
    }


def base_captions() -> dict[str, Any]:
    """What the host waits for in a batch of so many photos, where every answer ends with its first token; a Qwen3 of
    texts stands in the captioner's model.
    """
    masking_utils.is_tracing = lambda tensor=None: False
    found = {}
    for count in (2, 8):
        watch = fake_gpu.watch({"item": lambda place, tensor: 1})
        with FakeTensorMode(allow_non_fake_inputs=True):
            captioner = ImageTextCaptioner(
                "tiny", "Describe.", quantization="none", decoding=DecodingSettings(min_new_tokens=0, num_beams=1)
            )
            captioner._model = fuser_system().model.model.get_base_model().eval()
            captioner._processor = SimpleNamespace(tokenizer=Numbers())
            ids = torch.ones(count, 7, dtype=torch.long)
            captioner._inputs = lambda photos, ids=ids: BatchFeature({"input_ids": ids, "attention_mask": ids})
            with watch:
                captioner.describe([None] * count)
        found[count] = fake_gpu.readable(watch.waits)
    return {"waits": found}


def photos() -> dict[str, Any]:
    """What the host waits for before it begins the next batch of photos, and the types of the encoder's weights."""
    watch = fake_gpu.watch()
    with FakeTensorMode(allow_non_fake_inputs=True), watch:
        clip, beit3 = CLIPEncoder(backbone()), BEiT3Encoder("tiny.pth", image_size=64)
        clip.load()
        beit3.model = BEiT3(BEiT3Sizes(16, 24, 2, 4, 8, 8, 70, 30)).bfloat16()
        pixels = torch.zeros(B, 3, 64, 64, dtype=torch.uint8, device="cuda:0")
        encoders = [clip.to("cuda:0"), beit3.to("cuda:0")]
        watch.waits.clear()
        for encoder in encoders:
            EmbedPhotos(None, encoder).predict(encoder, list("abcdefg"), pixels)
    types = sorted({str(parameter.dtype) for parameter in clip.parameters()})
    return {"waits": fake_gpu.readable(watch.waits), "types": types}
