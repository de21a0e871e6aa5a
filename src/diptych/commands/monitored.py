"""Whether what a run is judged by will be measured at all: asked of its data and metrics, before the first step."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from diptych.contracts.retrieval import EvaluationSet
from diptych.metrics.retrieval.measuring import AVERAGE

_VALIDATION, _TRAINING = "val/", "train/"


def check_monitored(callbacks: DictConfig, sets: Sequence[EvaluationSet]) -> None:
    """Raises ValueError where a callback's `monitor` is a metric that the validation sets are too small for; of several
    sets, the mean of a metric needs all.
    """
    for callback, monitor in _monitors(callbacks):
        if not monitor.startswith(_VALIDATION):
            continue
        wanted = monitor.removeprefix(_VALIDATION)
        for one in sets:
            own = wanted.removeprefix(f"{one.name}/") if len(sets) > 1 else wanted
            if own.partition("/")[0] in one.protocol.left_out:
                raise ValueError(
                    f"callbacks.{callback}.monitor={monitor}: {one.name} has {len(one.gallery):,} images to validate "
                    f"on, too few for {own.partition('/')[0]}; choose another metric, or a larger validation split"
                )


def check_logged(callbacks: DictConfig, logged: Collection[str]) -> None:
    """Raises ValueError where a callback's `monitor` is not among what validations will log, names as `val/loss`; what
    is logged in training (`train/...`) is known when it is.
    """
    targets = [str(node.get("_target_")) for node in callbacks.values() if isinstance(node, DictConfig)]
    if not all(target.startswith(("diptych.", "lightning.")) for target in targets):
        return  # somebody's own callback may log what is watched
    for callback, monitor in _monitors(callbacks):
        if monitor in logged or monitor.startswith(_TRAINING):
            continue
        near = difflib.get_close_matches(monitor, logged, n=1)
        near = near or difflib.get_close_matches(f"{_VALIDATION}{monitor}", logged, n=1)
        plain = sorted(name for name in logged if name.count("/") == 1)
        advice = f"Did you mean {near[0]}? " if near else ""
        raise ValueError(
            f"callbacks.{callback}.monitor={monitor} will not be logged. {advice}There will be: {', '.join(plain)}"
        )


def logged_of_retrieval(metrics: Mapping[str, Any], sets: Sequence[EvaluationSet]) -> set[str] | None:
    """What a validation of retrieval on these sets will log; None where a metric does not say beforehand."""
    if not all(hasattr(metric, "meanings") for metric in metrics.values()):
        return None
    by_set = {one.name: set(_of_set(metrics, one)) for one in sets}
    names = set.intersection(*by_set.values()) if by_set else set()
    if len(sets) > 1:
        names |= {f"{name}/{key}" for name, keys in by_set.items() for key in keys}
    return {f"{_VALIDATION}{name}" for name in names | {"loss"}}


def _of_set(metrics: Mapping[str, Any], one: EvaluationSet) -> Iterator[str]:
    for metric in metrics.values():
        yield from metric.meanings(one.protocol)
    aspects = {aspect for query in one.queries for aspect in query.aspects}
    for name in one.protocol.aspect_metrics:
        yield from (f"{name}/{aspect}" for aspect in aspects)
    if one.protocol.average_of:
        yield AVERAGE
        yield from (f"{AVERAGE}/{aspect}" for aspect in aspects)


def _monitors(callbacks: DictConfig) -> Iterator[tuple[str, str]]:
    for callback, node in callbacks.items():
        monitor = node.get("monitor") if isinstance(node, DictConfig) else None
        if isinstance(monitor, str):
            yield str(callback), monitor
