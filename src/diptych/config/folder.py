"""Where configs lie: those of Diptych, and a user's own, which `--config-dir` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import diptych

CONFIG_FOLDER = Path(diptych.__file__).resolve().parent / "conf"


def user_config_folder(arguments: Sequence[str]) -> Path | None:
    """The folder of a user's own configs that Hydra's flag `--config-dir` names on a command line."""
    for number, argument in enumerate(arguments):
        flag, separator, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            value = value if separator else "".join(arguments[number + 1 : number + 2])
            return Path(value).resolve() if value else None
    return None


def refuse_hidden_configs(own: Path | None) -> None:
    """Of two configs of one name Hydra takes Diptych's, without a word.

    Raises:
        ValueError: the user's folder holds such a config, and it is not a copy.
    """
    if own is None:
        return
    for shipped in sorted(CONFIG_FOLDER.rglob("*.yaml")):
        hidden = own / shipped.relative_to(CONFIG_FOLDER)
        if hidden.is_file() and hidden.read_bytes() != shipped.read_bytes():
            raise ValueError(
                f"{hidden} would never be read: Diptych has a config of that name itself; give the file another name,"
                " and choose it by that"
            )
