"""What `diptych export` does: a trained model as a folder that other programs read, or that is sent to the Hub.

    python -m diptych.export ckpt=runs/cir_rooms/latest out=FOLDER [onnx=true] [push=USER/NAME]
    python -m diptych.export ckpt=runs/fuser_openevents/latest out=FOLDER [merge=true] [dtype=bfloat16]

What the checkpoint holds decides what is written: a retrieval model (`retrieval_export.py`), or the adapter of a
captioning model (`adapter_export.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from diptych.commands.adapter_export import export_adapter
from diptych.commands.hub import check_repository, send
from diptych.commands.retrieval_export import export_retrieval
from diptych.config import resolvers
from diptych.config.trained import checkpoint_path, config_of
from diptych.parallel import checkpoints
from diptych.parallel.plain_checkpoints import is_plain
from diptych.storage.whole import remove_unfinished


def export(
    ckpt: str | Path,
    out: str | Path | None = None,
    merge: bool = False,
    dtype: str | None = None,
    onnx: bool = False,
    licence: str | None = None,
    metrics: Sequence[Path] = (),
    push: str | None = None,
) -> str:
    """Writes the model of a checkpoint, or of a run's best one, to the folder `out`, which is new or empty, and with
    `push` sends it to the Hub; returns what was done, in sentences. Without `out` a folder that was exported before is
    sent as it is.

    Raises:
        ValueError: the checkpoint holds nothing that can be exported, the folder has something in it, a setting is of
            the other kind of model, or as the exports themselves.
    """
    path = checkpoint_path(ckpt)
    if push is not None:
        check_repository(push)
    if out is None:
        return _sent_as_it_is(path, push, merge or onnx or any((dtype, licence, metrics)))
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        sending = f"; to send what was exported there: ckpt={out} push=USER/NAME" if is_plain(out) else ""
        raise ValueError(f"{out} exists; name a folder that does not{sending}")
    checkpoint = checkpoints.load(path, weights_alone=True)
    resolvers.register_resolvers()
    remove_unfinished(out.parent, out.name)
    if OmegaConf.select(config_of(checkpoint, path), "system.model.backbone.preprocessing") is None:
        _refuse(path, "a captioning model", onnx=onnx, license=licence, metrics=metrics, push=push)
        export_adapter(checkpoint, path, out, merge, dtype or "bfloat16")
        return f"written to {out}"
    _refuse(path, "a retrieval model", merge=merge, dtype=dtype)
    export_retrieval(checkpoint, path, out, onnx=onnx, licence=licence, metrics=metrics, repository=push)
    if push is None:
        return f"written to {out}; nothing was sent: diptych export ckpt={out} push=USER/NAME does"
    return f"written to {out}\n{send(out, push)}"


def _sent_as_it_is(path: Path, push: str | None, changed: bool) -> str:
    if not is_plain(path) or push is None or changed:
        raise ValueError(
            "out=FOLDER is missing: what to write. Without it ckpt= is a folder that was exported, which push=USER/NAME"
            " sends as it is"
        )
    return send(path, push)


def _refuse(path: Path, kind: str, **settings: object) -> None:
    """ValueError where one of the settings, which are not of this kind of model, was set."""
    if given := [name for name, value in settings.items() if value]:
        raise ValueError(f"{', '.join(given)}: {path} holds {kind}, and that is exported without; leave it out")
