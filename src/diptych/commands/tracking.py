"""The final numbers of an evaluation, for trackers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from diptych.results.record import METRICS
from diptych.storage.json_files import read_json

_ABOUT = ("experiment", "checkpoint", "step", "data", "split", "seed")
_RUN_IDS = ("wandb_id", "mlflow_run_id")  # which trackers leave in the folder of a run


def send_results(loggers: Sequence[Logger], run_dir: Path) -> None:
    """Sends the numbers of the folder's metrics.json as `<split>/<metric>`, at the checkpoint's step, with what was
    evaluated: the checkpoint, the folder of the run that made it, and that run's ids in trackers.
    """
    if not loggers or rank_zero_only.rank != 0:  # type: ignore[attr-defined]  # set out of mypy's sight
        return
    content = read_json(run_dir / METRICS)
    numbers = {f"{content['split']}/{name}": value for name, value in content["metrics"].items() if value is not None}
    about = about_results(content)
    for logger in loggers:
        logger.log_hyperparams(about)
        logger.log_metrics(numbers, step=content.get("step") or 0)
        logger.save()
        logger.finalize("success")


def about_results(content: Mapping[str, Any]) -> dict[str, Any]:
    """What the numbers of a metrics.json are of, in plain values."""
    about = {name: content[name] for name in _ABOUT if content.get(name) is not None}
    about["data"] = ", ".join(map(str, content["data"])) if isinstance(content.get("data"), list) else content["data"]
    if line := (content.get("protocol") or {}).get("line"):
        about["protocol"] = line
    checkpoint = Path(str(content.get("checkpoint"))).resolve()
    if checkpoint.is_file() and checkpoint.parent.name == "checkpoints":
        run = checkpoint.parents[1]
        about["run"] = str(run)
        about |= {f"run_{name}": (run / name).read_text().strip() for name in _RUN_IDS if (run / name).is_file()}
    return about
