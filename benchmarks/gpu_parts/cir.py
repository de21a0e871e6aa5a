"""Part 3: a retrieval training step, its variants, what it waits for, and where its time goes."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from gpu_parts.bench import Report, Setting, Timing
from gpu_parts.ceilings import BF16
from gpu_parts.models import LONGEST_TEXT, cir_model, cir_system, triplets
from gpu_parts.training import BareStep, Batches, Clock, fit, trainer
from gpu_parts.variants import compile_blocks, cudnn_attention

NAME, SECONDS = "cir", 110
KERNELS = 15
OURS = ("/diptych/", "/gpu_parts/", "/lightning/")


def run(setting: Setting, report: Report) -> None:
    """Steps by batch size, compiled, under Lightning; waits, new text lengths, the profile."""
    flops = _flops_of_a_triplet(setting)
    sizes = ((64, None), (256, None), (1024, None), (1024, 256))
    for full, pieces in sizes:
        size, piece = setting.of(full, full // 32), pieces and setting.of(pieces, pieces // 32)
        what = f"batch {size}" + (f" in pieces of {piece}" if piece else "")
        with report.attempt(what):
            _row(setting, report, what, BareStep(setting, _model(setting), piece), size, flops)
    for full in (256, 1024):
        size = setting.of(full, full // 64)
        with report.attempt(f"batch {size}, blocks compiled"):
            model = _model(setting)
            compile_blocks(setting, model)
            _row(setting, report, f"batch {size}, blocks compiled", BareStep(setting, model), size, flops)
    size = setting.of(256, 4)
    _losses_of_variants(setting, report, size)
    with report.attempt("under Lightning"):
        _under_lightning(setting, report, size)
    with report.attempt("waits"):
        report.notes += [f"waits: {where}" for where in waits(setting, _lightning_steps(setting, size, 3))] or [
            "no waits"
        ]
    _new_lengths(setting, report, size)
    _profile(setting, report, size)


def _model(setting: Setting) -> Any:
    return cir_model(setting).to(setting.device)


def _flops_of_a_triplet(setting: Setting) -> float:
    """Counted of forward and backward of a small batch; recomputation is no progress, and not counted anywhere."""
    step, size = BareStep(setting, _model(setting)), 4
    with FlopCounterMode(display=False) as counter:
        step(triplets(setting, size))
    return counter.get_total_flops() / size


def _row(setting: Setting, report: Report, what: str, step: BareStep, size: int, flops: float) -> None:
    batch = triplets(setting, size)
    timing, peak = setting.time_and_peak(partial(step, batch))
    report.timed(what, timing, **_speed(setting, timing, size, flops), peak_gib=peak)


def _speed(setting: Setting, timing: Timing, size: int, flops: float) -> dict[str, float | None]:
    reached = timing.rate(size * flops / 1e12)
    share = setting.share(BF16, reached)
    return {"triplets/s": timing.rate(size), "TFLOP/s": reached, "% of the product": share}


def _losses_of_variants(setting: Setting, report: Report, size: int) -> None:
    """Of the same weights and batch, after a step."""
    batch = triplets(setting, size)

    def loss(change: Callable[[Any], object], piece: int | None = None, cudnn: bool = False) -> float:
        model = _model(setting)
        change(model)
        step = BareStep(setting, model, piece)
        with cudnn_attention(cudnn):
            step(batch)
            return float(step(batch))

    plain = loss(lambda model: None)
    variants: dict[str, Callable[[], float]] = {
        "in pieces": lambda: loss(lambda model: None, size // 2),
        "cuDNN's attention": lambda: loss(lambda model: None, cudnn=True),
        "blocks compiled": lambda: loss(partial(compile_blocks, setting)),
    }
    for name, value in variants.items():
        report.must(f"loss, {name}, relatively", lambda value=value: abs(value() - plain) / abs(plain), 1e-2)


# ------------------------------------------------------------------------------------------------ Lightning


def _under_lightning(setting: Setting, report: Report, size: int) -> None:
    """The same step with the system, its log and its hooks, on batches that are there."""
    clock, steps = Clock(setting, setting.of(3, 1)), setting.of(23, 2)
    _lightning_steps(setting, size, steps, clock)()
    report.row(f"batch {size}, under Lightning", ms=clock.ms, **{"triplets/s": clock.ms and size / clock.ms * 1e3})


def _lightning_steps(setting: Setting, size: int, steps: int, *callbacks: Any) -> Callable[[], None]:
    batches = [triplets(setting, size, number) for number in range(2)]
    data = Batches(lambda number: batches[number % 2])
    system = cir_system(setting)
    return lambda: fit(setting, trainer(setting, steps, callbacks), system, data, quiet=False)


def waits(setting: Setting, steps: Callable[[], None]) -> list[str]:
    """The lines of ours, or of Lightning, in which the host waited for the GPU."""
    setting.needs_gpu("what is waited for")
    found: dict[str, int] = {}

    def noted(message: object, *_: object) -> None:
        if "synchroniz" in str(message):
            frames = [frame for frame in traceback.extract_stack() if any(place in frame.filename for place in OURS)]
            frames = [frame for frame in frames if frame.name != "noted"]
            place = f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else "?"
            found[place] = found.get(place, 0) + 1

    before = warnings.showwarning, torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    warnings.showwarning = noted  # type: ignore[assignment]
    try:
        steps()
    finally:
        torch.cuda.set_sync_debug_mode(before[1])
        warnings.showwarning = before[0]
    return [f"{place} ({count} times)" for place, count in sorted(found.items())]


def _short(path: str) -> str:
    return "/".join(path.split("/")[-3:])


# ------------------------------------------------------------------------------------------------ shapes, kernels


def _new_lengths(setting: Setting, report: Report, size: int) -> None:
    """What the first step with a text length costs beside the later ones, of ten lengths."""
    for cudnn in (False, True):
        step = BareStep(setting, _model(setting))
        step(triplets(setting, size))
        extra = []
        with cudnn_attention(cudnn):
            for number in range(setting.of(10, 1)):
                batch = triplets(setting, size, number, LONGEST_TEXT + 1 + number)
                times = [setting.wall(partial(step, batch)) for _ in range(setting.of(3, 2))]
                extra.append(None if times[0] is None else times[0] - min(times[1:]))  # type: ignore[type-var]
        known = [ms for ms in extra if ms is not None]
        mean = sum(known) / len(known) if known else None
        report.row(f"a new text length, cuDNN's attention {'on' if cudnn else 'off'}: extra", ms=mean)


def _profile(setting: Setting, report: Report, size: int) -> None:
    step, batch = BareStep(setting, _model(setting)), triplets(setting, size)
    report.notes += profile(setting, partial(step, batch), "profile_cir.txt")


def profile(setting: Setting, step: Callable[[], object], name: str) -> list[str]:
    """Writes the kernels of a step that take longest into a file of --out; returns the note that says so."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    by = "self_cpu_time_total"
    if setting.on_gpu() and not setting.rehearsal:
        kinds, by = [*kinds, torch.profiler.ProfilerActivity.CUDA], "self_cuda_time_total"
    step()
    with torch.profiler.profile(activities=kinds) as found:
        step()
        setting.wait()
    (setting.out / name).write_text(found.key_averages().table(sort_by=by, row_limit=KERNELS) + "\n")
    return [f"the first {KERNELS} kernels are in {name}"]
