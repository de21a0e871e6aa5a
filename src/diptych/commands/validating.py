"""`validate=true`: what a command would do, take, and lack. Nothing is run, written or fetched."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from diptych.commands.monitored import check_logged
from diptych.commands.pipeline import prepare_config, stage_runs
from diptych.commands.training import said_of_accumulation
from diptych.config import building, checking
from diptych.config.model_needs import is_here, model_needs
from diptych.config.plain_config import plain_section
from diptych.config.presence import files_named, makes_its_own, missing_data, require_checkpoint
from diptych.config.trained import checkpoint_path, config_of
from diptych.parallel import checkpoints
from diptych.storage.room import size_in_words
from diptych.text.printable import printable

_BYTES = 4  # of a parameter, a gradient, a moment: training keeps them in float32


def validate(config_name: str, config: DictConfig) -> int:
    """Prints the composed config of `train`, `evaluate` or `pipeline`, what it would take and what is missing. Returns
    1 if something is, else 0.

    Raises:
        ValueError: a key, a value, or what goes together, is wrong: as the command itself would say.
    """
    shown = OmegaConf.masked_copy(config, [str(key) for key in config if key not in ("validate", "join_run")])
    facts = {"train": _of_training, "evaluate": _of_evaluation, "pipeline": _of_pipeline}[config_name](config)
    lines = list(facts)  # before anything is printed: a mistake is one line
    missing = [line.removeprefix(_MISSING) for line in lines if line.startswith(_MISSING)]
    told = [f"  {line}" for line in lines if not line.startswith(_MISSING)]
    missing = [f"  {line}" for line in missing] or ["  nothing"]
    text = [OmegaConf.to_yaml(shown).rstrip(), "", "It would take:", *told, "Missing:", *missing]
    sys.stdout.write(printable("\n".join([*text, "Nothing was run, written or fetched.", ""])))
    return 0 if missing == ["  nothing"] else 1


_MISSING = "missing: "


def _of_training(config: DictConfig) -> Iterator[str]:
    if config.resume is not None:
        raise ValueError(
            "validate=true looks at a new run; whether what a run has written is whole says"
            f" diptych doctor run={config.resume}"
        )
    checking.check_data_fits_system(config)
    checking.check(config, checking.root_keys("train"))
    checking.check_data_root(config)
    kind, trainer = checking.kind_of("data", config.data), config.trainer
    if kind == "captions":
        check_logged(config.callbacks, ["val/loss", "val/perplexity"])
    devices, nodes = trainer.devices, trainer.num_nodes
    num_devices = len(devices) if OmegaConf.is_list(devices) else devices if isinstance(devices, int) else None
    processes = (num_devices or max(1, torch.cuda.device_count())) * nodes
    times = trainer.accumulate_grad_batches
    batch = config.data.training.batch_size if kind == "retrieval" else config.data.batch_size
    per_step, of_what = batch * times * processes, "triplets" if kind == "retrieval" else "rows of packed examples"
    yield f"steps: {trainer.max_steps:,} of {per_step:,} {of_what} ({batch} x {times} batches x {processes} processes)"
    yield from _passes(config, kind, per_step)
    batches = trainer.max_steps * times
    if isinstance(trainer.val_check_interval, int):
        times_validated = max(1, batches // trainer.val_check_interval)
        yield f"validations: {times_validated}, on the split {_validated_on(config, kind)}"
    if kind == "retrieval" and times > 1:
        yield said_of_accumulation(times, batch)
    yield from _of_model(config, batch if kind == "retrieval" else None)
    yield from _what_is_missing(config)


def _passes(config: DictConfig, kind: str, per_step: int) -> Iterator[str]:
    """How many examples each source has, as far as that can be told without making anything, and passes over them."""
    names, total = list(config.data.get("train_on") or config.data.sources), 0
    for name in names:
        source = building.build(config.data.sources[name])
        root = Path(source.root)
        if makes_its_own(source) and (not root.is_dir() or not any(root.iterdir())):
            yield f"{name}: would be made first, in {root.absolute()}"
            return
        try:
            count = len(source.triplets("train") if kind == "retrieval" else source.queries("train"))
        except (ValueError, OSError) as error:
            yield f"{name}: its examples cannot be counted ({error})"
            return
        yield f"{name}: {count:,} {'triplets' if kind == 'retrieval' else 'photos'} to train on"
        total += count
    if kind == "retrieval":
        if per_step > total * config.trainer.accumulate_grad_batches:
            raise ValueError(
                f"a batch of {config.data.training.batch_size} is larger than the {total} training examples; lower"
                f" data.training.batch_size, to {total} at most"
            )
        yield f"passes over the data: {config.trainer.max_steps * per_step / total:.1f}"


def _validated_on(config: DictConfig, kind: str) -> str:
    node = config.data.evaluation if kind == "retrieval" else config.data
    return str(node.get("validation_split", "val"))


def _of_model(config: DictConfig, batch: int | None) -> Iterator[str]:
    """Parameters and memory, of a system that is built without weights, and without memory for them."""
    building.settle(config, "system")
    with torch.device("meta"):
        system = building.build(config.system)
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in system.parameters()]
    total, trained = sum(n for n, _ in counts), sum(n for n, is_trained in counts if is_trained)
    if not total:
        yield f"parameters: those of {config.system.model.get('name', 'the model')}, known once its weights are read"
        return
    yield f"parameters: {total / 1e6:.1f} M, {trained / 1e6:.1f} M trained, {(total - trained) / 1e6:.1f} M frozen"
    size = _BYTES * (total + 3 * trained)
    formula = f"{_BYTES} bytes x (parameters + 3 x trained: the gradient and AdamW's two moments)"
    yield f"memory: {size_in_words(size)} a process for the model, {formula}; what layers keep of a batch comes on top"
    side = OmegaConf.select(config, "data.preprocessing.image_size")
    side = side or getattr(getattr(getattr(system.model, "backbone", None), "preprocessing", None), "image", None)
    side = getattr(side, "size", side)
    if batch and side:
        yield f"pictures of a batch: {size_in_words(batch * 2 * 3 * side**2)}, {batch} x 2 x 3 x {side} x {side} bytes"


def _what_is_missing(config: DictConfig, sections: Sequence[str] = ("system", "data")) -> Iterator[str]:
    for message in missing_data(config):
        yield f"{_MISSING}{message}"
    if config.get("init_from") is not None:
        try:
            require_checkpoint("init_from", config.init_from)
        except ValueError as error:
            yield f"{_MISSING}{error}"
    for need in model_needs(config, sections):
        if not is_here(need):
            yield f"{_MISSING}{need.name} ({need.keys[0]}), which would be downloaded; diptych fetch brings it"


def _of_evaluation(config: DictConfig) -> Iterator[str]:
    checking.check_evaluation(config)
    named = [key for key in ("ckpt", "predictions", "system") if config.get(key) is not None]
    if len(named) != 1:
        raise ValueError("say what to evaluate: ckpt=PATH, predictions=FILE, or system=zero_shot")
    whole = config
    if named == ["ckpt"]:
        require_checkpoint("ckpt", config.ckpt)
        path = checkpoint_path(config.ckpt)
        checkpoint = checkpoints.load(path, weights_alone=True)
        trained = config_of(checkpoint, path, config.data_dir)
        weights = checkpoints.weights_of(checkpoint, path)
        size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        yield f"checkpoint: {trained.name} at step {checkpoint.get('global_step')}, weights of {size_in_words(size)}"
        data = config.data if "_target_" in config.data else OmegaConf.merge(trained.data, config.data)
        whole = OmegaConf.create(plain_section(trained, resolve=False) | {"data": data})
        whole.data_dir, whole.init_from = config.data_dir, None
        checking.check_data_fits_system(whole, trusted=False)
    elif named == ["predictions"]:
        absent = [path for path in files_named(config.predictions) if not Path(path).is_file()]
        yield from (f"{_MISSING}predictions={path}: there is no such file" for path in absent)
    for name in whole.data.get("evaluate_on") or whole.data.get("sources") or ():
        yield _of_split(building.build(whole.data.sources[name]), str(name), config.split)
    yield from _what_is_missing(whole)


def _of_split(source: Any, name: str, split: str) -> str:
    root = Path(source.root)
    if makes_its_own(source) and (not root.is_dir() or not any(root.iterdir())):
        return f"{name}: would be made first, in {root.absolute()}"
    try:
        return f"{name}: {len(source.queries(split)):,} queries of the split {split}"
    except OSError as error:
        return f"{name}: cannot be counted ({error})"
    except ValueError as error:
        if split not in source.splits:
            raise
        return f"{name}: cannot be counted ({error})"


def _of_pipeline(config: DictConfig) -> Iterator[str]:
    prepared = prepare_config(config)
    for run in stage_runs(prepared):
        state = "begun: it goes on" if run.folder.is_dir() else "new"
        yield f"{run.name}: {type(run.stage).__name__}, in {run.folder} ({state})"
    for key in ("images", "pairs", "input", "ckpt"):
        path = prepared.get(key)
        if isinstance(path, str) and not Path(path).exists():
            yield f"{_MISSING}{key}={path}: there is no such file or folder"
    yield from _what_is_missing(prepared, ["stages"])  # which hold what they take of the data
