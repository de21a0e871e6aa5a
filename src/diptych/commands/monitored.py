"""Whether what a run is judged by will be measured at all: asked of its data, before there is a model."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from diptych.contracts.retrieval import EvaluationSet

_VALIDATION = "val/"


def check_monitored(callbacks: DictConfig, sets: Sequence[EvaluationSet]) -> None:
    """Raises ValueError where a callback's `monitor` is a metric that the validation sets are too small for; of several
    sets, the mean of a metric needs all.
    """
    for callback, node in ((str(name), node) for name, node in callbacks.items()):
        monitor = node.get("monitor") if isinstance(node, DictConfig) else None
        if not isinstance(monitor, str) or not monitor.startswith(_VALIDATION):
            continue
        wanted = monitor.removeprefix(_VALIDATION)
        for one in sets:
            own = wanted.removeprefix(f"{one.name}/") if len(sets) > 1 else wanted
            if own.partition("/")[0] in one.protocol.left_out:
                raise ValueError(
                    f"callbacks.{callback}.monitor={monitor}: {one.name} has {len(one.gallery):,} images to validate "
                    f"on, too few for {own.partition('/')[0]}; choose another metric, or a larger validation split"
                )
