"""Where a config of a stranger's may have something written: in the user's own folders."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diptych.config.checking import locate_trusted, targets
from diptych.config.plain_config import plain_section

log = logging.getLogger(__name__)


def keep_within(config: DictConfig, sections: Sequence[str], *folders: str | Path) -> None:
    """Moves the places that these sections of a config have something written to into the last of the `folders`, unless
    they lie in one of these, or hold what was written there before. Says so in a warning.

    Which these are say the classes: `writes` has their arguments that are such places, each with a pattern (as of
    `Path.glob`) of what lies there once it has been used.

    Raises:
        ValueError: the config names a class that it may not name.
    """
    plain = plain_section(config, resolve=False)
    for path, node in targets({name: plain.get(name) for name in sections}):
        writes = getattr(locate_trusted(path, str(node["_target_"]), within_own=True), "writes", {})
        for argument, pattern in writes.items():
            key = f"{path}.{argument}"
            value = OmegaConf.select(config, key)
            if not isinstance(value, str) or _may_be_written(Path(value), folders, pattern):
                continue
            moved = Path(folders[-1]) / (Path(value).name.strip(".") or argument)
            log.warning(
                "%s=%s: a place outside of %s, where nothing of ours lies yet; %s is taken instead. (%s=FOLDER says"
                " another)",
                *(key, value, " and ".join(map(str, folders)), moved, key),
            )
            OmegaConf.update(config, key, str(moved), merge=False)


def _may_be_written(place: Path, folders: tuple[str | Path, ...], pattern: str) -> bool:
    if any(_lies_in(place, Path(folder)) for folder in folders):
        return True
    try:
        return any(True for _ in place.glob(pattern))
    except (OSError, ValueError):
        return False


def _lies_in(place: Path, folder: Path) -> bool:
    for inner, outer in ((place, folder), (place.absolute(), folder.absolute())):
        if inner.is_relative_to(outer) and ".." not in inner.relative_to(outer).parts:
            return True
    return False
