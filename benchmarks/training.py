"""Training step of the published recipe on the CPU: Diptych against the recipe as published.

`python benchmarks/training.py [--batch-sizes 16 32] [--repeats 5]` prints a table for each batch size, in minutes.
ViT-B/32 with random weights (speed does not depend on them), 224 px, one whole step: forward, loss, backward, AdamW.

Trimming texts to the batch's longest with a mask on the pads is a different function from the published one, which
attends to its pads; the table says so. Cached features are read from disk inside the measured step.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW, Optimizer

from diptych.contracts.models import ImageFeatures, TextFeatures
from diptych.contracts.retrieval import TripletBatch
from diptych.data.triplets.feature_cache import BackboneFeatures
from diptych.data.triplets.triplet_dataset import TripletCollator, TripletExample
from diptych.losses.info_nce import InfoNCE
from diptych.models.backbones.clip import CLIPBackbone, CLIPPreprocessing
from diptych.models.composers.composed_model import ComposedModel
from diptych.models.composers.cross_attention_composer import CrossAttentionComposer
from diptych.models.composers.good4cir import Good4CIRComposer
from modification_texts import MODIFICATION_TEXTS
from side_by_side import interleave, machine_line

NAME, TAG, SIZE = "ViT-B-32", "openai", 224
NUM_IMAGES = len(MODIFICATION_TEXTS)  # 64 pictures of noise, one for every text
RECIPE = {"lr": 1e-5, "weight_decay": 1e-2, "betas": (0.9, 0.98), "eps": 1e-8}
PUBLISHED = "as published (fp32, 77 tokens, pads attended to)"
REQUIRED = {  # ratio of samples per second to the published recipe
    "ours, bf16": 3.5,
    "ours, fp32": 1.15,
    "ours, bf16, frozen, cached features": 20.0,
}
Step = Callable[[], None]


class PublishedModel(nn.Module):
    """The baseline released with good4cir, in its structure: pooled output before projection as target, and four
    attention layers without residual, norm and feed-forward over all 77 positions.
    """

    def __init__(self) -> None:
        super().__init__()
        # OpenAI's weights need QuickGELU.
        self.clip = open_clip.create_model(NAME, pretrained=None, force_quick_gelu=True, force_custom_text=True)
        self.clip.visual.output_tokens = True
        self.clip.visual.proj = None  # the pooled output is the one before the projection
        width = self.clip.visual.ln_post.normalized_shape[0]
        self.text_projection = nn.Linear(self.clip.text.width, width)
        self.layers = nn.ModuleList(nn.MultiheadAttention(width, 8, batch_first=True) for _ in range(4))
        self.scales = nn.Parameter(torch.ones(4))
        self.pool_query = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.pool = nn.MultiheadAttention(width, 8, batch_first=True)

    def forward(self, reference: Tensor, target: Tensor, text: Tensor) -> Tensor:
        """The symmetric InfoNCE loss of normalised pixels (B, 3, S, S) twice and token ids (B, 77)."""
        _, hidden = self.clip.visual(reference)
        pooled_target, _ = self.clip.visual(target)
        words = self.text_projection(self._text_tokens(text))
        for layer, scale in zip(self.layers, self.scales, strict=True):
            hidden = scale * layer(hidden, words, words, need_weights=False)[0]
        query = self.pool(self.pool_query.expand(len(hidden), -1, -1), hidden, hidden, need_weights=False)[0].squeeze(1)
        logits = F.normalize(query, dim=-1) @ F.normalize(pooled_target, dim=-1).T / 0.07
        right = torch.arange(len(logits))
        return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2

    def _text_tokens(self, ids: Tensor) -> Tensor:
        text = self.clip.text
        hidden = text.token_embedding(ids) + text.positional_embedding
        return text.ln_final(text.transformer(hidden, attn_mask=text.attn_mask))


def published_step(model: PublishedModel, batch_size: int) -> Step:
    """Plain fp32, AdamW not fused, a tower call for the references and one for the targets."""
    optimizer = AdamW(model.parameters(), **RECIPE)
    tokens = CLIPPreprocessing(NAME, TAG, pad_to_context=True).tokenize(MODIFICATION_TEXTS).input_ids
    images = torch.randn(NUM_IMAGES, 3, SIZE, SIZE)
    batches = cycle([(images[rows], images[rows.roll(1)], tokens[rows]) for rows in _row_batches(batch_size)])

    def step() -> None:
        optimizer.zero_grad()
        model(*next(batches)).backward()
        optimizer.step()

    return step


def our_step(model: ComposedModel, optimizer: Optimizer, batches: Iterator[TripletBatch], bf16: bool) -> Step:
    """As `CIRSystem` under Lightning's precisions 32-true and bf16-mixed."""
    loss = InfoNCE()

    def step() -> None:
        optimizer.zero_grad()
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(model(batch), batch)["loss"]
        value.backward()
        optimizer.step()

    return step


def fused_adamw(model: nn.Module) -> Optimizer:
    """The recipe's optimizer as `conf/system/optimizer/adamw.yaml` has it."""
    return AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], **RECIPE, fused=True)


def make_backbone(freeze: str = "none") -> CLIPBackbone:
    """ViT-B/32 with random weights."""
    return CLIPBackbone(NAME, CLIPPreprocessing(NAME, TAG), TAG, freeze=freeze)


def pixel_batches(backbone: CLIPBackbone, batch_size: int) -> Iterator[TripletBatch]:
    """Endless batches of uint8 noise, with the texts tokenised and trimmed to the batch's longest."""
    collate = TripletCollator(backbone.preprocessing)
    images = torch.randint(0, 256, (NUM_IMAGES, 3, SIZE, SIZE), dtype=torch.uint8)
    return cycle(
        [
            collate([_example(row, images[row], images[row - 1], MODIFICATION_TEXTS[row]) for row in rows.tolist()])
            for rows in _row_batches(batch_size)
        ]
    )


def cached_batches(cache: BackboneFeatures, batch_size: int) -> Iterator[TripletBatch]:
    """Endless batches of features, each read from disk and collated when it is asked for."""
    collate = TripletCollator(CLIPPreprocessing(NAME, TAG))
    for rows in cycle(_row_batches(batch_size)):
        yield collate(
            [
                _example(
                    row,
                    cache.image(_file(row)),
                    cache.image(_file((row - 1) % NUM_IMAGES)),
                    cache.text(MODIFICATION_TEXTS[row]),
                )
                for row in rows.tolist()
            ]
        )


@torch.inference_mode()
def fill(cache: BackboneFeatures, backbone: CLIPBackbone) -> None:
    """Features of noise and of the texts, in float16 as `FromFeatures.feature_dtype` has it."""
    images = backbone.encode_image(torch.randint(0, 256, (NUM_IMAGES, 3, SIZE, SIZE), dtype=torch.uint8))
    tokens = backbone.preprocessing.tokenize(MODIFICATION_TEXTS)
    words = backbone.encode_text(tokens)
    image_rows = []
    for row in range(NUM_IMAGES):
        parts = (images.tokens[row], images.embedding[row], images.pooled[row])
        image_rows.append((str(_file(row)), (0, 0), ImageFeatures(*(part.half() for part in parts))))
    with cache.writing():
        cache.images.extend(image_rows)
        lengths = tokens.mask.sum(1).tolist()
        cache.texts.extend(
            (text, (0, 0), TextFeatures(words.tokens[row, :n].half(), words.mask[row, :n], words.embedding[row].half()))
            for row, (text, n) in enumerate(zip(MODIFICATION_TEXTS, lengths, strict=True))
        )


def _row_batches(batch_size: int) -> list[Tensor]:
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(0))
    return list(order.split(batch_size))


def _example(
    row: int, reference: Tensor | ImageFeatures, target: Tensor | ImageFeatures, text: str | TextFeatures
) -> TripletExample:
    return TripletExample(str(row), reference, target, text, row, NUM_IMAGES + row)


def _file(row: int) -> Path:
    return Path(f"/noise/{row}.jpg")


def run(batch_size: int, repeats: int, folder: str) -> list[tuple[str, ...]]:
    """The table's rows of one batch size."""
    published = PublishedModel()
    unfrozen = Good4CIRComposer(make_backbone(), mask_padding=True)
    default = CrossAttentionComposer(make_backbone())
    frozen = make_backbone("all")
    cache = BackboneFeatures(folder, {"batch_size": batch_size})
    fill(cache, frozen)
    cached, cached_default = Good4CIRComposer(frozen, mask_padding=True), CrossAttentionComposer(frozen)
    pixels, features = pixel_batches(frozen, batch_size), cached_batches(cache, batch_size)
    optimizer = fused_adamw(unfrozen)
    rivals = {
        PUBLISHED: published_step(published, batch_size),
        "ours, bf16": our_step(unfrozen, optimizer, pixels, True),
        "ours, fp32": our_step(unfrozen, optimizer, pixels, False),
        "ours, bf16, frozen, cached features": our_step(cached, fused_adamw(cached), features, True),
        "ours, bf16, default composer": our_step(default, fused_adamw(default), pixels, True),
        "ours, bf16, frozen, cached, default composer": our_step(
            cached_default, fused_adamw(cached_default), features, True
        ),
    }
    times = interleave(rivals, repeats)
    return [_row(name, batch_size, times) for name in rivals]


def _row(name: str, batch_size: int, times: dict[str, tuple[float, float, float]]) -> tuple[str, ...]:
    median, fastest, slowest = times[name]
    ratio, required = times[PUBLISHED][0] / median, REQUIRED.get(name)
    verdict = "" if required is None else f"{required:g}: {'met' if ratio >= required else 'MISSED'}"
    spread = f"{batch_size / slowest:.1f} to {batch_size / fastest:.1f}"
    return name, f"{batch_size / median:.1f}", spread, f"{ratio:.2f}", verdict


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{machine_line()}, {torch.get_num_threads()} threads")
    print(f"Training step, {NAME} at {SIZE} px, the published composer unless said otherwise;")
    print(f"medians of {options.repeats} interleaved runs, the spread from the slowest to the fastest.")
    print("Ours trims texts to the batch's longest and masks the pads: another function than the published one, which")
    print("attends to its pads (model=good4cir with pad_to_context and mask_padding=false is the published function).")
    for batch_size in options.batch_sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows = run(batch_size, options.repeats, folder)
        header = (f"batch {batch_size}", "samples/s", "spread", "ratio", "required")
        widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
        for row in ["", header, *rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


if __name__ == "__main__":
    main()
