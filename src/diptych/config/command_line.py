"""The frame of an entry point: composes under Hydra, and says a user's mistake in one message."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config.checking import leaves, suggest
from diptych.config.earlier_configs import advice_on
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.light_imports import import_lightly
from diptych.config.presence import require_data
from diptych.config.resolvers import register_resolvers
from diptych.extras import missing_extra

Task = Callable[[DictConfig], Any]
_called_as = [sys.argv[0]]  # the program and its words before the settings, as the user typed them


def entry_point(
    config_name: str,
    task: Task | str,
    arguments: Sequence[str] | None = None,
    open_section: str | None = None,
    rewrite: Callable[[Sequence[str]], list[str]] = list,
) -> int:
    """Composes a primary config under Hydra and calls `task(config)`; returns the exit status. A user's mistake ends
    in one clear message and 1, no traceback. `arguments` are those of the command line unless given.

    A task that is named, `module:function`, is imported once the config stands, and its data was found: mistakes are
    answered before torch is imported. Keys of `open_section` may be set although no config names them, unless a config
    is chosen for it: `evaluate.py data.root=...` changes the data section that lies in the checkpoint. `rewrite` turns
    the arguments into others before anything else.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.argv[1:][-len(words) :] == words:
        _called_as[:] = sys.argv[: len(sys.argv) - len(words)]
    register_resolvers()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us, not Hydra's printer

    def run(config: DictConfig) -> Any:
        return (_imported(task, config) if isinstance(task, str) else task)(config)

    main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)
    try:
        words = rewrite(words)
        if open_section and not any(word.startswith(f"{open_section}=") for word in words):
            words = [f"++{word}" if word.startswith(f"{open_section}.") else word for word in words]
        set_command_line([sys.argv[0], *words])
        main()
    except (HydraException, OmegaConfBaseException, ValueError, OSError, ModuleNotFoundError) as error:
        unexplained = isinstance(error, ModuleNotFoundError) and missing_extra(error) is None
        if os.environ.get("DIPTYCH_TRACEBACK") or unexplained:
            raise
        sys.stderr.write(f"\nerror: {explain(error, config_name)}\n(DIPTYCH_TRACEBACK=1 shows where it came from)\n")
        return 1
    return 0


def called_as() -> list[str]:
    """What starts this program again, before its settings: `["train.py"]`, or `["/.../bin/diptych", "train"]`."""
    return list(_called_as)


def shown_command() -> str:
    """How a person calls this program again: `python train.py`, `diptych train`."""
    script, *words = _called_as
    name = Path(script).name
    return " ".join(["python", name] if name.endswith(".py") else [name, *words])


def _imported(task: str, config: DictConfig) -> Task:
    require_data(config)
    import_lightly()
    module, _, function = task.partition(":")
    return getattr(importlib.import_module(module), function)


def set_command_line(command: Sequence[str]) -> None:
    """Makes this process one that was started with another command line: `train.py key=value ...`.

    Hydra reads it, and Lightning starts the other processes of a training with it.
    """
    sys.argv = list(command)


def explain(error: Exception, config_name: str) -> str:
    """The error in one message; for a key that no config has, the nearest ones that it has."""
    missing = missing_extra(error)
    if missing is not None:
        return str(missing)
    message = str(error).strip()
    if "Missing mandatory value: name" in message and config_name == "pipeline":
        known = _names("pipeline")
        return f"no pipeline is named; choose one: pipeline={', pipeline='.join(known)}"
    if "Missing mandatory value: name" in message:
        known = _names("experiment")
        return (
            f"no experiment is named; try experiment=cir_rooms, or one of {', '.join(known)} (the key 'name' is unset)"
        )
    cause = error.__cause__ or error.__context__
    if isinstance(error, HydraException) and "not in struct" in f"{message} {cause}":
        key = message.split("'")[1].split("=")[0].lstrip("+~") if "'" in message else message
        known = [name for name, _ in leaves(OmegaConf.to_container(_compose(config_name, _without(key))))]
        return f"unknown key {key!r}.{advice_on(key) or suggest(key, known)}"
    if isinstance(error, HydraException) and cause is not None and not isinstance(cause, HydraException):
        return str(cause).strip()
    return message


def _compose(config_name: str, overrides: list[str]) -> DictConfig:
    own = user_config_folder(sys.argv[1:])
    if own is not None:
        overrides = [*overrides, f"hydra.searchpath=[file://{own}]"]
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose(config_name, overrides=overrides)


def user_config_folder(arguments: Sequence[str]) -> Path | None:
    """The folder of a user's own configs that Hydra's flag `--config-dir` names on a command line."""
    for number, argument in enumerate(arguments):
        flag, separator, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            value = value if separator else "".join(arguments[number + 1 : number + 2])
            return Path(value).resolve() if value else None
    return None


def _names(group: str) -> list[str]:
    """The configs of a group, the user's own included."""
    folders = (CONFIG_FOLDER, user_config_folder(sys.argv[1:]))
    return sorted({path.stem for folder in folders if folder for path in (folder / group).glob("*.yaml")})


def _without(key: str) -> list[str]:
    """The command line's overrides that compose without the offending one: the group choices and the experiment."""
    words = [word for word in sys.argv[1:] if "=" in word and not word.startswith(("-", "hydra"))]
    return [
        word
        for word in words
        if word.split("=")[0] in ("experiment", "pipeline", "data", "trainer", "system/model") and key not in word
    ]
