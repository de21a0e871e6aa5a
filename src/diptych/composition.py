"""From configs to objects: the entry points' frame, the checks before anything is built, and the building.

Only entry points import this file; it is the one place where Hydra is used.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

log = logging.getLogger(__name__)

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "conf"
_GROUPS = {
    "train": ["data", "system", "trainer", "callbacks", "logger", "cluster"],
    "evaluate": ["data", "trainer", "metrics", "caption_metrics"],
}
_INSTANTIATE_KEYS = {"_target_", "_convert_", "_partial_", "_recursive_", "_args_"}
_TRUSTED = (
    "diptych.",
    "torch.optim.",
    "torch.nn.",
    "bitsandbytes.optim.",
)  # what a config out of a checkpoint may name
_STARTED = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
if int(os.environ.get("SLURM_NTASKS", 1)) > 1:  # the same for all tasks, and for the job when it is queued again
    _STARTED = f"job_{os.environ['SLURM_JOB_ID']}_{os.environ.get('SLURM_STEP_ID', 0)}"


def entry_point(config_name: str, run: Callable[[DictConfig], Any], open_section: str | None = None) -> None:
    """Runs `run(config)` under Hydra; a user's mistake ends in one clear message and exit status 1, no traceback.

    Keys of `open_section` may be set on the command line although no config names them, unless a config is chosen for
    it: `evaluate.py data.root=...` changes the data section that lies in the checkpoint.
    """
    register_resolvers()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us, not Hydra's printer
    if open_section and not any(word.startswith(f"{open_section}=") for word in sys.argv[1:]):
        sys.argv[1:] = [f"++{word}" if word.startswith(f"{open_section}.") else word for word in sys.argv[1:]]
    main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)
    try:
        if config_name == "train":
            from diptych.sweeping.resuming import of_resumed_sweep  # which imports this file

            sys.argv[1:] = of_resumed_sweep(sys.argv[1:])
        main()
    except (HydraException, OmegaConfBaseException, ValueError, OSError) as error:
        if os.environ.get("DIPTYCH_TRACEBACK"):
            raise
        sys.stderr.write(f"\nerror: {explain(error, config_name)}\n(DIPTYCH_TRACEBACK=1 shows where it came from)\n")
        sys.exit(1)


def explain(error: Exception, config_name: str) -> str:
    """The error in one message; for a key that no config has, the nearest ones that it has."""
    message = str(error).strip()
    if "Missing mandatory value: name" in message and config_name == "pipeline":
        known = sorted(path.stem for path in (CONFIG_FOLDER / "pipeline").glob("*.yaml"))
        return f"no pipeline is named; choose one: pipeline={', pipeline='.join(known)}"
    if "Missing mandatory value: name" in message:
        known = sorted(path.stem for path in (CONFIG_FOLDER / "experiment").glob("*.yaml"))
        return (
            f"no experiment is named; try experiment=cir_rooms, or one of {', '.join(known)} (the key 'name' is unset)"
        )
    cause = error.__cause__ or error.__context__
    if isinstance(error, HydraException) and "not in struct" in f"{message} {cause}":
        key = message.split("'")[1].split("=")[0].lstrip("+~") if "'" in message else message
        known = [name for name, _ in _leaves(OmegaConf.to_container(_compose(config_name, _without(key))))]
        return f"unknown key {key!r}.{_suggest(key, known)}"
    if isinstance(error, HydraException) and cause is not None and not isinstance(cause, HydraException):
        return str(cause).strip()
    return message


def _compose(config_name: str, overrides: list[str]) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose(config_name, overrides=overrides)


def _without(key: str) -> list[str]:
    """The command line's overrides that compose without the offending one: the group choices and the experiment."""
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith(("-", "hydra"))]
    return [
        word
        for word in words
        if word.split("=")[0] in ("experiment", "pipeline", "data", "trainer", "system/model") and key not in word
    ]


# ---------------------------------------------------------------------------------------------------- resolvers


def register_resolvers() -> None:
    """`${precision:auto}` is bf16-mixed where the hardware computes in it; `${dataset_root:cirr}` is `data.root`, or
    the dataset's own folder under `data_dir`; `${run_dir:train}` is a new folder for a run, or that of the resumed one.
    """
    OmegaConf.register_new_resolver("precision", _precision, replace=True, use_cache=True)
    OmegaConf.register_new_resolver("dataset_root", _dataset_root, replace=True)
    OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)


def _precision(choice: str) -> str:
    import torch

    if choice != "auto":
        return choice
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    fast_on_cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast_on_cpu else "32-true"


def _dataset_root(name: str, *, _root_: DictConfig) -> str:
    return str(_root_.data.get("root") or Path(_root_.data_dir) / name)


def _run_dir(entry: str, *, _root_: DictConfig) -> str:
    runs = Path(os.environ.get("DIPTYCH_RUNS", "runs"))
    if entry == "evaluate" and _root_.resume:
        return str(Path(_root_.resume).resolve())
    if entry == "evaluate":
        checkpoint = Path(_root_.ckpt or "predictions").resolve()
        run = next((parent for parent in (checkpoint, *checkpoint.parents) if (parent / "config.yaml").is_file()), None)
        if run and (run.parent / "command.json").is_file():  # a run of a sweep: its evaluations are its own
            return str(run / "eval" / _STARTED)
        return str(runs / (run.parent.name if run else checkpoint.stem) / "eval" / _STARTED)
    if _root_.resume or _root_.join_run:
        return str(Path(_root_.resume or _root_.join_run).resolve())
    return str(runs / _root_.name / _STARTED)


# ---------------------------------------------------------------------------------------------------- checking


def root_keys(config_name: str) -> list[str]:
    """The keys at the top of a primary config."""
    own = OmegaConf.load(CONFIG_FOLDER / f"{config_name}.yaml")
    return [str(key) for key in own if key not in ("defaults", "hydra")] + _GROUPS[config_name]


def check(config: DictConfig, known_roots: list[str]) -> None:
    """Every top key is known, every `_target_` exists, every key beside it is an argument of it, before anything is
    built; else ValueError with the nearest names.
    """
    for key in config:
        if key not in known_roots:
            raise ValueError(f"unknown key {key!r}.{_suggest(str(key), known_roots)}")
    check_section("", OmegaConf.to_container(config, resolve=True))


def check_section(name: str, section: dict[str, Any]) -> None:
    """Every `_target_` in a plain, resolved section exists, and every key beside it is an argument of it; else
    ValueError with the nearest names.
    """
    for path, node in _targets(section, name):
        _check_arguments(path, node, _locate(path, node["_target_"]))


def check_data_fits_system(config: DictConfig) -> None:
    """Raises ValueError when triplets meet the system that writes captions, or news photos the one that retrieves."""
    news = ".news_datamodule." in str(config.data.get("_target_"))
    captions = ".caption_fuser." in str(config.system.get("_target_"))
    if news and not captions:
        raise ValueError("data holds news photos to caption, but system composes images; use system=caption_fuser")
    if captions and not news:
        raise ValueError("system=caption_fuser writes captions of news photos; use data=newsroom or data=openevents")


def check_untrusted(config: DictConfig) -> DictConfig:
    """The resolved form of a config that came out of a checkpoint, safe to build: it names only classes of this
    package, torch.optim, torch.nn and bitsandbytes.optim, and nothing else of it was imported. ValueError otherwise.
    """
    plain = OmegaConf.to_container(config, resolve=True)
    for path, value in _leaves(plain):
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"{path}: {value!r} is an interpolation inside a value; nothing was built")
    for path, node in _targets(plain):
        target = str(node["_target_"])
        if not target.startswith(_TRUSTED):
            raise ValueError(f"{path}._target_: {target} is not allowed in a checkpoint's config; nothing was built")
        found = _locate(path, target)
        if not (inspect.isclass(found) and f"{found.__module__}.".startswith(_TRUSTED)):
            raise ValueError(f"{path}._target_: {target} is not a class of this package or torch; nothing was built")
        _check_arguments(path, node, found)
    return OmegaConf.create(plain)


def _check_arguments(path: str, node: dict[str, Any], constructor: Callable[..., Any]) -> None:
    parameters = inspect.signature(constructor).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in node:
        if key not in _INSTANTIATE_KEYS and key not in parameters:
            raise ValueError(f"unknown key {f'{path}.{key}'!r}.{_suggest(key, list(parameters))}")


def _targets(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict with a `_target_` in a plain container, with its path."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node
        for key, value in node.items():
            yield from _targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _targets(value, f"{path}.{position}")


def _locate(path: str, target: str) -> Callable[..., Any]:
    """The object that a `_target_` names: an attribute of a module, nothing deeper."""
    module_name, _, name = str(target).rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}._target_: there is no {target}: {error}") from error


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if not near:  # the right name at the wrong depth
        near = [name for name in known if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]][:3]
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else f" Known: {', '.join(known[:30])}"


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every (path, value) of a plain container, inner nodes too."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        name = f"{path}.{key}" if path else str(key)
        yield name, value
        yield from _leaves(value, name)


# ---------------------------------------------------------------------------------------------------- building


def build(node: DictConfig, **arguments: Any) -> Any:
    """The object that a config describes, with its parts; the config path is the constructor path. `arguments` are
    further ones, which no config can hold. A part's ValueError comes out as it is.
    """
    try:
        return hydra.utils.instantiate(node, **arguments)
    except HydraException as error:
        cause = error.__cause__
        if isinstance(cause, (ValueError, OSError)):
            raise cause from None
        raise


def build_trainer(node: DictConfig, **arguments: Any) -> Any:
    """As `build`, of a Trainer for `evaluate.py` or a pipeline; ValueError when it would start processes of its own in
    a sweep: Lightning gives them the sweep's command line. (`train.py -m` has a launcher for that.)
    """
    trainer = build(node, **arguments)
    in_sweep = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if in_sweep and trainer.world_size > 1 and not trainer.strategy.cluster_environment.creates_processes_externally:
        raise ValueError(
            f"-m with a trainer of {trainer.world_size} processes: call the command once for each, without -m, or set "
            "trainer.devices=1"
        )
    return trainer
