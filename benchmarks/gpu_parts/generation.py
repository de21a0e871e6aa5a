"""Part 6: captions token by token from long prompts."""

from __future__ import annotations

import random
from functools import partial

import torch
from torch import Tensor

from diptych.contracts.news import FusionExample
from diptych.systems.decoding import Decoder, new_decoded, pad_left
from gpu_parts import variants
from gpu_parts.bench import Report, Setting
from gpu_parts.fuser import LAYERS
from gpu_parts.models import qwen

NAME, SECONDS = "generation", 40
PROMPT, TOKENS, DECIDED = 3_000, 32, 16


def run(setting: Setting, report: Report) -> None:
    """Prefill and time a token: small and large batches, cuDNN's attention, the adapter merged or not."""
    tuned = variants.fuser(setting, qwen(setting, LAYERS), setting.of(256, 4), recompute=False).eval()
    few, many = setting.of(16, 4), setting.of(64, 8)
    with report.attempt("first tokens"):
        report.must_be(
            "first tokens are the same, merged or not, in 15 of 16", partial(_same_first, setting, tuned, many)
        )
    for size in (few, many):
        with report.attempt(f"batch {size}"):
            _rows(setting, report, tuned.model, f"batch {size}", size)
    with report.attempt("cuDNN's attention"), variants.cudnn_attention(True):
        _rows(setting, report, tuned.model, f"batch {few}, cuDNN's attention on", few)
    with report.attempt("merged"), variants.merged(tuned):
        for size in (few, many):
            _rows(setting, report, tuned.model, f"batch {size}, merged", size)


def prompts(setting: Setting, size: int) -> list[FusionExample]:
    """So many of up to 3,000 tokens."""
    draws, longest = random.Random(0), setting.of(PROMPT, 30)
    vocabulary = range(1, setting.of(150_000, 512))
    lengths = [longest, *(draws.randint(longest * 9 // 10, longest) for _ in range(size - 1))]
    return [FusionExample(str(n), tuple(draws.choices(vocabulary, k=length))) for n, length in enumerate(lengths)]


def _rows(setting: Setting, report: Report, model: torch.nn.Module, name: str, size: int) -> None:
    """A call with one token is the prefill; the others are what a longer one takes more."""
    made, times, peak = prompts(setting, size), [], None
    setting.needs_values("decoding decides by values")
    for tokens in (1, setting.of(TOKENS, 4)):
        decoder = Decoder((), 0, tokens, None, 0.0, lambda answer: False)
        complete = setting.autocast()(decoder.complete)  # as under Lightning
        answers = [[new_decoded(prompt, 0, 0) for prompt in made] for _ in range(2)]
        if tokens == 1:
            complete(model, answers[0])  # warm
        peak = setting.peak_gib(lambda: times.append(setting.wall(partial(complete, model, answers[1]))))  # noqa: B023
    prefill, whole = times
    if prefill is None or whole is None:
        return
    a_token = (whole - prefill) / (setting.of(TOKENS, 4) - 1)
    figures = {"prefill ms": prefill, "ms a token": a_token, "tokens/s": size / a_token * 1e3}
    report.row(name, **figures, peak_gib=peak)


def _same_first(setting: Setting, tuned: object, size: int) -> bool:
    """Of the rows whose first token is decided by most: with random weights many are not, beyond bf16's rounding."""
    batch = pad_left(prompts(setting, size), 0).to(setting.device)

    @torch.inference_mode()
    def logits() -> Tensor:
        rows = []
        for start in range(0, size, DECIDED):
            part = slice(start, start + DECIDED)
            ids, mask = batch.input_ids[part], batch.attention_mask[part]
            positions = (mask.cumsum(-1) - 1).clamp(min=0)
            given = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
            rows.append(tuned.model(**given, use_cache=False, logits_to_keep=1).logits[:, -1].float())  # type: ignore[attr-defined]
        return torch.cat(rows)

    with setting.autocast():
        plain = logits()
    with variants.merged(tuned), setting.autocast():
        other = logits()
    best = plain.topk(2).values
    decided = (best[:, 0] - best[:, 1]).topk(min(DECIDED, size // 2)).indices
    equal = (plain.argmax(-1) == other.argmax(-1))[decided]
    return bool(int(equal.sum()) >= len(decided) - 1)
