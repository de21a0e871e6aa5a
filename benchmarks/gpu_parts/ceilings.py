"""Part 0: what the card reaches at best; later parts are shares of it."""

from __future__ import annotations

from functools import partial

import torch

from gpu_parts.bench import Report, Setting

NAME, SECONDS = "ceilings", 20
PICTURES_MB = 77  # a batch of 256 triplets
BF16, TF32, FP32, MEMORY = "bf16 TFLOP/s", "TF32 TFLOP/s", "FP32 TFLOP/s", "memory GB/s"


def run(setting: Setting, report: Report) -> None:
    """Copies on the device, matrix products, copies from the host, the cost of a launch and of a wait."""
    size = setting.of(8 * 10**9, 10**6)
    source = torch.randint(256, (size,), dtype=torch.uint8, device=setting.device)
    target = torch.empty_like(source)
    timing = setting.time(partial(target.copy_, source))
    reached = timing.rate(2 * size / 1e9)
    _keep(setting, MEMORY, reached)
    report.timed(f"copy of {size / 1e9:g} GB on the device", timing, **{MEMORY: reached})
    del source, target
    _products(setting, report)
    _from_host(setting, report)
    _latencies(setting, report)


def _products(setting: Setting, report: Report) -> None:
    side = setting.of(8192, 128)
    before = torch.get_float32_matmul_precision()
    for name, dtype, precision in (
        (BF16, torch.bfloat16, "highest"),
        (TF32, torch.float32, "high"),
        (FP32, torch.float32, "highest"),
    ):
        left, right = (torch.randn(side, side, dtype=dtype, device=setting.device) for _ in range(2))
        try:
            torch.set_float32_matmul_precision(precision)
            timing = setting.time(lambda left=left, right=right: left @ right)
        finally:
            torch.set_float32_matmul_precision(before)
        reached = timing.rate(2 * side**3 / 1e12)
        _keep(setting, name, reached)
        report.timed(f"product {side}^3 {name.split()[0]}", timing, **{"TFLOP/s": reached})


def _from_host(setting: Setting, report: Report) -> None:
    with report.attempt("copies from the host"):
        if not setting.on_gpu():
            raise ImportError("there is no device beside the host")
        with setting.host():
            pageable = torch.randint(256, (setting.of(PICTURES_MB * 10**6, 10**5),), dtype=torch.uint8)
            pinned = pageable.pin_memory()
        there = torch.empty(len(pageable), dtype=torch.uint8, device=setting.device)
        for name, source, waits in (("pageable", pageable, True), ("pinned", pinned, True), ("queued", pinned, False)):
            timing = setting.time(lambda source=source, waits=waits: there.copy_(source, non_blocking=not waits))
            report.timed(
                f"{len(pageable) / 1e6:g} MB from the host, {name}", timing, **{"GB/s": timing.rate(len(pinned) / 1e9)}
            )


def _latencies(setting: Setting, report: Report) -> None:
    number, launches = torch.ones(1, device=setting.device), setting.of(1000, 10)

    def launch() -> None:
        for _ in range(launches):
            number.add_(1.0)

    launch()
    taken = setting.wall(launch)
    report.row("launch of a kernel", us=None if taken is None else taken / launches * 1e3)
    number.item()
    taken = setting.wall(lambda: [number.add_(1.0).item() for _ in range(launches)])
    report.row("launch and .item()", us=None if taken is None else taken / launches * 1e3)


def _keep(setting: Setting, name: str, reached: float | None) -> None:
    if reached is not None:
        setting.ceilings[name] = reached
