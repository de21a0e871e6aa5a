"""From configs to objects."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import SECTION_KEYS
from diptych.config.plain_config import leaves, plain_section
from diptych.extras import missing_extra
from diptych.parallel.private_parts import root_of

log = logging.getLogger(__name__)

_ARGUMENT = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.\w+)*)=")
_INTERPOLATION = re.compile(r"\$\{(?P<dots>\.*)(?P<path>[\w.]+)\}")


def build(node: DictConfig, **arguments: Any) -> Any:
    """The object that a config describes, with its parts; the config path is the constructor path. `arguments` are
    further ones, which no config can hold. A part's ValueError comes out as it is, and so does that of a missing extra;
    but where it begins with an argument, `num_heads=7 does not divide ...`, it names the key that the user
    types instead: `system.model.num_heads=7 does not divide ...`.
    """
    written = OmegaConf.to_container(root_of(node), resolve=False)  # Hydra resolves what the node refers to
    try:
        return hydra.utils.instantiate(node, **arguments)
    except HydraException as error:
        missing = missing_extra(error)
        if missing is not None:
            raise missing from error
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise _with_keys(cause, written, str(error)) from None
        raise


def build_data(node: DictConfig) -> Any:
    """As `build`, of the data section, without its keys that only other settings refer to (`data.root`)."""
    own = {key: value for key, value in plain_section(node).items() if f"data.{key}" not in SECTION_KEYS}
    return build(OmegaConf.create({"data": own}).data)  # below its name, which errors then tell


def settle(config: DictConfig, section: str) -> None:
    """Puts into a section what its classes find out about files that it names (`settled`, a class method that is given
    the resolved settings and returns further ones): a config that is kept says it, and nobody has to ask again.

    Raises:
        ValueError: a class says that something is not known; names its place.
    """
    for path, node in leaves({section: plain_section(config[section])}):
        finds = getattr(_class_of(node), "settled", None) if isinstance(node, dict) else None
        if finds is None:
            continue
        try:
            found = finds(node)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for key, value in found.items():
            OmegaConf.update(config, f"{path}.{key}", value, force_add=True)


def _class_of(node: Mapping[str, Any]) -> Any:
    """What a section builds; None where it is nothing that can be found, which building will say."""
    try:
        return hydra.utils.get_object(str(node["_target_"])) if "_target_" in node else None
    except (ImportError, AttributeError, ValueError):
        return None


def _with_keys(error: Exception, config: Any, message: str) -> Exception:
    """The error of a constructor with keys for the arguments that it names; `message` is Hydra's, with the path in the
    unresolved plain config.
    """
    path = re.search(r"^full_key: (.+)$", message, re.MULTILINE)
    if path is None or not _ARGUMENT.match(str(error)):
        return error

    def key(argument: re.Match[str]) -> str:
        try:
            return typed_key(config, f"{path[1]}.{argument[1]}") + "="
        except (LookupError, TypeError, ValueError):  # not a setting of this part
            return argument[0]

    text = _ARGUMENT.sub(key, str(error))
    return error if text == str(error) else ValueError(text).with_traceback(error.__traceback__)


def typed_key(config: Any, path: str) -> str:
    """The key that sets what lies at `path` of an unresolved plain config: of a value that is an interpolation of
    another, `${system.model.backbone.name}`, the other's.

    Raises:
        LookupError, TypeError or ValueError: there is nothing at the path.
    """
    key, value = "", config
    for part in path.split("."):
        value = value[int(part) if isinstance(value, list) else part]
        key = f"{key}.{part}" if key else part
        if isinstance(value, str) and (other := _INTERPOLATION.fullmatch(value)):
            upwards = len(other["dots"])  # one for the key's own section
            key = typed_key(config, ".".join([*key.split(".")[:-upwards], other["path"]]) if upwards else other["path"])
            value = functools.reduce(lambda node, name: node[name], key.split("."), config)
    return key


def build_trainer(node: DictConfig, **arguments: Any) -> Any:
    """As `build`, of a Trainer for `evaluate.py` or a pipeline, which SIGTERM ends; ValueError when it would start
    processes of its own in a sweep that runs in this process (`hydra/launcher=basic`): Lightning gives them the sweep's
    command line.
    """
    from diptych.callbacks.end_on_signal import EndOnSignal  # with Lightning, which Hydra's plugins do without

    trainer = ready_trainer(node, callbacks=[EndOnSignal()], **arguments)
    if in_sweep() and trainer.world_size > 1 and not trainer.strategy.cluster_environment.creates_processes_externally:
        raise ValueError(
            f"-m with a trainer of {trainer.world_size} processes: call the command once for each, without -m, or set "
            "trainer.devices=1"
        )
    return trainer


def ready_trainer(node: DictConfig, on_loss: Callable[[str], None] | None = None, **arguments: Any) -> Any:
    """As `build`, of any Trainer: its precision chosen, its GPU taken, and the processes that it will start watched,
    whose loss `on_loss` is told.

    Raises:
        ValueError: also where `accelerator` is `gpu` and there is none, or where there is one that torch cannot use and
            `accelerator` is `auto`.
    """
    from diptych.parallel.devices import check_gpu_usable, prepare_gpu, require_gpu
    from diptych.parallel.job import watch_processes

    if node.get("accelerator") == "auto":
        check_gpu_usable()
    elif node.get("accelerator") in ("gpu", "cuda"):
        require_gpu()
    watch_processes(on_loss)
    trainer = build(node, precision=chosen_precision(node), **arguments)
    prepare_gpu(trainer.strategy.root_device)
    return trainer


def in_sweep() -> bool:
    """Whether this process does several jobs of a sweep, one after the other."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def chosen_precision(node: DictConfig) -> str | int | None:
    """The `precision` of a Trainer's config. `auto` is decided here, on the machine that computes: bf16-mixed where its
    hardware has bfloat16 (torch emulates it on older GPUs, many times slower), on older GPUs with float16 units (Volta,
    Turing) 16-mixed, else 32-true.
    """
    import torch

    precision = node.get("precision")
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        if not has_bf16 and torch.cuda.get_device_capability() >= (7, 0):
            return "16-mixed"
    else:
        has_bf16 = any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_bf16", "amx_tile"))
    return "bf16-mixed" if has_bf16 else "32-true"
