"""What a result rests on beside the data: which model it is of, as metrics.json has it under `model`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych.contracts.models import Backbone
from diptych.storage.checksums import sha256_of_file


def backbone_facts(backbone: Backbone) -> dict[str, Any]:
    """The backbone's name, how its pictures are prepared, and, where it has them, its activation and the `weights` that
    it was given in this process: their name, and of their file size and SHA-256. A checkpoint's weights follow; they
    are named by the result's `checkpoint`.
    """
    facts: dict[str, Any] = {"backbone": backbone.name, "image": asdict(backbone.preprocessing.image)}
    if activation := getattr(backbone, "activation", None):
        facts["activation"] = activation
    file: Path | None = getattr(backbone, "weights_file", None)
    if file is not None:
        facts["weights"] = {
            "name": str(getattr(backbone, "pretrained", file)),
            "bytes": file.stat().st_size,
            "sha256": sha256_of_file(file),
        }
    return facts
