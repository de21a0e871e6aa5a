"""A trained retrieval model as a folder: weights in safetensors, its config in JSON, a model card, and ONNX files.

The folder is a checkpoint like any other (`parallel/plain_checkpoints.py`). It gets its name once it has been read
back and found equal.
"""

from __future__ import annotations

import filecmp
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from diptych.config import checking
from diptych.config.plain_config import leaves, plain_section
from diptych.config.trained import config_of
from diptych.config.trained_encoder import TrainedEncoder
from diptych.models.onnx_embedders import check_onnx, write_onnx
from diptych.parallel import checkpoints, plain_checkpoints
from diptych.report.model_card import ModelFacts, OnnxFacts, write_model_card
from diptych.results.record import METRICS
from diptych.storage.json_files import read_json
from diptych.storage.json_shapes import Count, Finite
from diptych.storage.whole import whole_folder

log = logging.getLogger(__name__)

_KEPT = ("name", "seed", "data_dir", "tf32", "data", "system", "trainer")  # what evaluations and searches read
_DATA_DIR = "${oc.env:DIPTYCH_DATA,data}"  # as conf/train.yaml has it: the reader's own, not the writer's
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_EXAMPLE = "make it red"
_RECORD = {
    "data": (str, [str]),
    "split": str,
    "step?": Count,
    "protocol": dict,
    "queries": {"scored": Count, "expected": Count},
    "gallery": {"size": (Count, None), "sha256": (str, None)},
    "metrics": {str: (Finite, None)},
    "intervals?": {str: [(Finite, None)]},
    "signatures?": [str],
}


def export_retrieval(
    checkpoint: dict[str, Any],
    path: Path,
    out: Path,
    onnx: bool = False,
    licence: str | None = None,
    metrics: Sequence[Path] = (),
    repository: str | None = None,
) -> None:
    """Writes the model of the checkpoint, which was read from `path`, to the new folder `out`.

    `metrics` are folders of evaluations of this checkpoint, or their metrics.json; without any that of its own run is
    taken, if there is one. `licence` is a licence's identifier, such as `mit`. `repository` names the model.

    Raises:
        ValueError: a metrics.json is of another model, the model cannot be written as ONNX or has other embeddings
            there, or the licence is no identifier.
        OSError: the disk does not take it.
    """
    config = config_of(checkpoint, path)
    weights = checkpoints.weights_of(checkpoint, path)
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ValueError(f"license={licence}: expected an identifier such as mit, apache-2.0 or cc-by-nc-4.0")
    evaluations = _evaluations(checkpoint, config, path, metrics)
    if onnx:
        _check_exportable(config, path)
    plain = {name: value for name, value in plain_section(config, resolve=False).items() if name in _KEPT}
    if "data_dir" in plain:
        plain["data_dir"] = _DATA_DIR
    of_this_machine = [f"{key}={value}" for key, value in leaves(plain) if str(value).startswith(("/", "~"))]
    if of_this_machine:
        log.warning("the exported config names places of this machine: %s", ", ".join(of_this_machine))
    own = checkpoint[checkpoints.KEY]
    said = {"format": own["format"], "step": checkpoint.get("global_step"), "versions": own.get("versions") or {}}
    with whole_folder(out) as temporary:
        about_onnx = _write_onnx(path, temporary) if onnx else None
        plain_checkpoints.write(temporary, weights, {**said, "config": plain})
        _check_equal(temporary, weights, plain)
        facts = _facts(config, said, licence, repository or out.name, temporary)
        write_model_card(temporary, facts, evaluations, about_onnx)


def _check_equal(folder: Path, weights: Mapping[str, torch.Tensor], plain: Mapping[str, Any]) -> None:
    """ValueError unless the folder reads as what was written: its config, and each bit of its weights."""
    found = checkpoints.load(folder)
    if plain_section(config_of(found, folder), resolve=False) != plain:
        raise ValueError(
            "the config of this checkpoint is another one when it is read back from JSON; nothing was written"
        )
    if checkpoints.fingerprint(found["state_dict"]) != checkpoints.fingerprint(weights):
        raise ValueError("the weights are others when they are read back from safetensors; nothing was written")


def _check_exportable(config: DictConfig, path: Path) -> None:
    """ValueError where the checkpoint's kind of model says that it cannot be written as ONNX; nothing is loaded."""
    check_onnx()
    model = checking.locate_trusted("system.model", str(config.system.model._target_))
    if reason := getattr(model, "no_onnx", ""):
        raise ValueError(f"onnx=true: {path} holds a {model.__name__}, which cannot be written as ONNX: {reason}")


def _write_onnx(path: Path, folder: Path) -> OnnxFacts:
    encoder = TrainedEncoder(path)
    encoder.load(torch.device("cpu"))
    assert encoder.model is not None  # it was loaded
    differences = write_onnx(encoder.model, folder)
    preprocessing = encoder.model.backbone.preprocessing
    tokens = preprocessing.tokenize([_EXAMPLE])
    ids = tokens.input_ids[0][tokens.mask[0]].tolist()
    return OnnxFacts(preprocessing.image, _EXAMPLE, ids, differences)


def _facts(config: DictConfig, said: Mapping[str, Any], licence: str | None, name: str, folder: Path) -> ModelFacts:
    model = config.system.model
    backbone = model.backbone
    sources = list(OmegaConf.select(config, "data.sources") or {})
    started = backbone.get("pretrained")
    facts = [
        ("experiment", str(config.get("name"))),
        ("composer", str(model._target_).rpartition(".")[2]),
        ("backbone", str(backbone.get("name"))),
        ("its weights, before training", Path(str(started)).name if started else "none: from scratch"),
        ("trained on", ", ".join(sources)),
        ("steps", "" if said["step"] is None else f"{said['step']:,}"),
        ("seed", str(config.get("seed"))),
        ("versions", ", ".join(f"{package} {number}" for package, number in said["versions"].items())),
    ]
    files = sorted(each.name for each in folder.iterdir())
    return ModelFacts(name, sources, licence, [(name, value) for name, value in facts if value], files)


def _evaluations(
    checkpoint: Mapping[str, Any], config: DictConfig, path: Path, given: Sequence[Path]
) -> list[dict[str, Any]]:
    """What is in the files of numbers that are given; or in that of the checkpoint's run, if it is of this model."""
    if given:
        files = [each / METRICS if each.is_dir() else each for each in given]
        records = [read_json(file, "metrics= wants folders of evaluations", shape=_RECORD) for file in files]
        for file, record in zip(files, records, strict=True):
            if (other := _of_another_model(record, checkpoint, config, path)) is not None:
                raise ValueError(f"{file}: these numbers are of another model than {path}: {other}")
        return records
    file = path.parent.with_name(METRICS)
    if path.parent.name != "checkpoints" or not file.is_file():
        log.info("no numbers: the run has no %s; metrics=FOLDER names evaluations", METRICS)
        return []
    own: dict[str, Any] = read_json(file, shape=_RECORD)
    if (other := _of_another_model(own, checkpoint, config, path)) is not None:
        log.warning("%s is left out: its numbers are of another model than %s: %s", file, path, other)
        return []
    return [own]


def _of_another_model(
    record: Mapping[str, Any], checkpoint: Mapping[str, Any], config: DictConfig, path: Path
) -> str | None:
    """How an evaluation says that it was of another checkpoint; None where it does not."""
    own = {"experiment": config.get("name"), "seed": config.get("seed"), "step": checkpoint.get("global_step")}
    for name, value in own.items():
        if record.get(name) != value:
            return f"{name} {record.get(name)} there, {value} here"
    evaluated = Path(str(record.get("checkpoint")))
    if evaluated.is_file() and path.is_file() and not filecmp.cmp(evaluated, path, shallow=False):
        return f"they are of {evaluated}, which is another file"
    return None
