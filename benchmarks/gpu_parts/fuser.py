"""Part 5: a training step of the fuser on packed rows, each row of other lengths, and its variants."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diptych.losses.causal_lm import ChunkedCausalLMLoss
from gpu_parts import variants
from gpu_parts.bench import GIB, Report, Setting
from gpu_parts.ceilings import BF16
from gpu_parts.cir import profile
from gpu_parts.models import example_lengths, fuser_flops, packed, qwen

NAME, SECONDS = "fuser", 110
LAYERS, QUANTISED_LAYERS = 36, 12
SHORT, LONG = 9_000, 23_800
# What each of them takes back, one more from line to line; of the fuser.
Change = Callable[[Any], contextlib.AbstractContextManager[None]]
_PEFT, _NORMS = partial(variants.without, fused="fused_lora"), partial(variants.without, fused="fused_norm")
CHANGES: dict[str, tuple[Change, ...]] = {
    "as it is": (),
    "PEFT's adapters": (_PEFT,),
    "and transformers' norms": (_PEFT, _NORMS),
    "and attention in a loop": (_PEFT, _NORMS, lambda _: variants.in_a_loop()),
    "and cuDNN's attention on": (
        _PEFT, _NORMS, lambda _: variants.in_a_loop(), lambda _: variants.cudnn_attention(True),
    ),
}  # fmt: skip


def run(setting: Setting, report: Report) -> None:
    """Speed by length and variant, with quantised weights, the profile, the memory of the loss."""
    setting_rank = setting.of(256, 4)
    with report.attempt("bf16, 36 layers"):
        losses: dict[str, float] = {}
        step = Step(setting, qwen(setting, LAYERS), setting_rank)
        for name, changes in CHANGES.items():
            with report.attempt(name), step.changed(changes):
                losses[name] = step.loss_of(0)
                step.row(report, f"{name}, recomputed", setting.of(SHORT, 90))
        with report.attempt(f"{setting.of(LONG, 230)} tokens"):
            step.row(report, "as it is, recomputed", setting.of(LONG, 230))
        report.notes += profile(setting, partial(step, packed(setting, setting.of(SHORT, 90), 99)), "profile_fuser.txt")
        with report.attempt("no recomputation"), step.without_recomputation():
            losses["no recomputation"] = step.loss_of(0)
            step.row(report, "as it is, not recomputed", setting.of(SHORT, 90))
            with step.changed(CHANGES["and transformers' norms"]):
                step.row(report, "PEFT's adapters and transformers' norms, not recomputed", setting.of(SHORT, 90))
        _same_losses(report, losses)
        del step
    for kind in ("int8", "nf4"):
        with report.attempt(f"{kind}, {QUANTISED_LAYERS} layers"):
            setting.needs_values("bitsandbytes' kernels")
            base = qwen(setting, QUANTISED_LAYERS)
            variants.quantise(base, kind, setting.device)
            times = setting.of(LAYERS // QUANTISED_LAYERS, 1)
            Step(setting, base, setting_rank, kind).row(report, f"{kind}, recomputed", setting.of(SHORT, 90), times)
    with report.attempt("memory of the loss"):
        _loss_memory(setting, report)


class Step:
    """Forward, loss and backward of a row, by a fuser that is adapted and recomputes its layers."""

    def __init__(self, setting: Setting, base: Any, rank: int, quantization: str = "none") -> None:
        self.setting, self.rank = setting, rank
        self.fuser = variants.fuser(setting, base, rank, True, quantization)
        self.config, self.loss, self.rows = base.config, ChunkedCausalLMLoss(), 0

    def __call__(self, batch: Any) -> Tensor:
        """The loss; gradients are gone afterwards."""
        with self.setting.autocast():
            value = self.loss(self.fuser(batch), self.fuser.head(), batch.labels)["loss"]
        value.backward()
        self.fuser.zero_grad()
        return value.detach()

    def loss_of(self, number: int) -> float:
        """Of a certain row."""
        return float(self(packed(self.setting, self.setting.of(SHORT, 90), number)))

    def fresh(self, tokens: int) -> Tensor:
        """A step on a row of lengths that were not there before."""
        self.rows += 1
        return self(packed(self.setting, tokens, self.rows))

    def row(self, report: Report, name: str, tokens: int, times: int = 1) -> None:
        """The table's row; the time is `times` as long as it was measured, for so many times the layers."""
        setting = self.setting
        timing, peak = setting.time_and_peak(partial(self.fresh, tokens), warmups=2, repeats=5)
        ms = None if timing.ms is None else timing.ms * times
        with setting.host():
            batch = packed(setting, tokens, 1)
            labelled = int((batch.labels != -100).sum())
            flops = times * fuser_flops(self.config, self.rank, example_lengths(batch), labelled)
        reached = None if ms is None else flops / ms / 1e9
        report.row(
            f"T = {tokens}, {name}", ms=ms,
            **{"tokens/s": ms and tokens / ms * 1e3, "TFLOP/s": reached},
            **{"% of the product": setting.share(BF16, reached)},
            peak_gib=peak,
        )  # fmt: skip

    @contextlib.contextmanager
    def changed(self, changes: tuple[Change, ...]) -> Iterator[None]:
        """All of these taken back."""
        with contextlib.ExitStack() as stack:
            for change in changes:
                stack.enter_context(change(self.fuser))
            yield

    @contextlib.contextmanager
    def without_recomputation(self) -> Iterator[None]:
        """Everything that the layers compute is kept for the backward pass."""
        base = self.fuser.model.get_base_model()
        layers = [module for module in base.modules() if getattr(module, "gradient_checkpointing", False)]
        for module in layers:
            module.gradient_checkpointing = False
        try:
            yield
        finally:
            for module in layers:
                module.gradient_checkpointing = True


def _same_losses(report: Report, losses: dict[str, float]) -> None:
    plain = losses.get("as it is")
    for name, value in losses.items():
        if plain is not None and name != "as it is":
            report.must(f"loss, {name}, relatively", lambda value=value: abs(value - plain) / abs(plain), 2e-2)


def _loss_memory(setting: Setting, report: Report) -> None:
    """Bytes that the loss adds a labelled token, at two vocabularies: logits are never held, so it is as much."""
    width, few, many = setting.of(4096, 64), setting.of(2_000, 100), setting.of(8_000, 400)
    per_token = []
    for vocabulary in (setting.of(32_000, 320), setting.of(152_000, 1520)):
        head = nn.Linear(width, vocabulary, bias=False, device=setting.device, dtype=torch.bfloat16).requires_grad_(
            False
        )
        peaks = [_peak_of_loss(setting, head, width, tokens) for tokens in (few, many)]
        report.row(f"loss, vocabulary {vocabulary}, {many} labelled tokens", peak_gib=peaks[1])
        if peaks[0] is not None and peaks[1] is not None:
            per_token.append((peaks[1] - peaks[0]) * GIB / (many - few))
    if len(per_token) == 2:
        report.notes.append(f"memory of the loss a token: {per_token[0]:.0f} and {per_token[1]:.0f} bytes")

    def difference() -> float:
        setting.needs_gpu("memory")
        return abs(per_token[1] / per_token[0] - 1)

    report.must("memory of the loss a token is that of the smaller vocabulary", difference, 0.1)


def _peak_of_loss(setting: Setting, head: nn.Linear, width: int, tokens: int) -> float | None:
    """Above what was there before."""
    torch.manual_seed(0)
    hidden = torch.randn(1, tokens + 1, width, device=setting.device, dtype=torch.bfloat16, requires_grad=True)
    with setting.host():
        labels = torch.randint(head.out_features, (1, tokens + 1))
    before = torch.cuda.memory_allocated(setting.device) / GIB if setting.on_gpu() and not setting.rehearsal else 0.0
    peak = setting.peak_gib(lambda: ChunkedCausalLMLoss()(hidden, head, labels)["loss"].backward())
    return None if peak is None else peak - before
