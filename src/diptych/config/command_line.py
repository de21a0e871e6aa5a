"""The frame of an entry point: composes under Hydra, and says a user's mistake in one message."""

from __future__ import annotations

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
from diptych.config.folder import CONFIG_FOLDER
from diptych.config.resolvers import register_resolvers
from diptych.extras import missing_extra


def entry_point(
    config_name: str,
    run: Callable[[DictConfig], Any],
    open_section: str | None = None,
    rewrite: Callable[[Sequence[str]], list[str]] = list,
) -> None:
    """Runs `run(config)` under Hydra; a user's mistake ends in one clear message and exit status 1, no traceback.

    Keys of `open_section` may be set on the command line although no config names them, unless a config is chosen for
    it: `evaluate.py data.root=...` changes the data section that lies in the checkpoint. `rewrite` turns the arguments
    of the command line into others before Hydra reads them.
    """
    register_resolvers()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us, not Hydra's printer
    if open_section and not any(word.startswith(f"{open_section}=") for word in sys.argv[1:]):
        sys.argv[1:] = [f"++{word}" if word.startswith(f"{open_section}.") else word for word in sys.argv[1:]]
    main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)
    try:
        sys.argv[1:] = rewrite(sys.argv[1:])
        main()
    except (HydraException, OmegaConfBaseException, ValueError, OSError, ModuleNotFoundError) as error:
        unexplained = isinstance(error, ModuleNotFoundError) and missing_extra(error) is None
        if os.environ.get("DIPTYCH_TRACEBACK") or unexplained:
            raise
        sys.stderr.write(f"\nerror: {explain(error, config_name)}\n(DIPTYCH_TRACEBACK=1 shows where it came from)\n")
        sys.exit(1)


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
        return f"unknown key {key!r}.{suggest(key, known)}"
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
