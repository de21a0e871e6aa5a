"""Whether the data that a config names is there at all, asked before anything slow is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.building import build
from diptych.config.override_words import in_shell, override
from diptych.config.run_places import require_checkpoint
from diptych.storage.presence import require_folder


def require_inputs(config: DictConfig) -> None:
    """Does nothing where what the command reads is there: as `require_data`, and of an evaluation what to evaluate,
    of a training what it starts from.

    Raises:
        ValueError: it is not; says what is missing.
    """
    if "predictions" in config:
        if [config.ckpt, config.predictions, OmegaConf.select(config, "system")].count(None) != 2:
            raise ValueError(
                "say what to evaluate: either ckpt=PATH, or predictions=FILE with data=NAME split=NAME, or a pretrained"
                " model as it comes, system=zero_shot with data=NAME split=NAME"
            )
        if config.ckpt is not None:
            require_checkpoint("ckpt", config.ckpt)
        for path in files_named(config.predictions):
            if not Path(path).exists():
                raise ValueError(f"predictions={path}: there is no such file or folder")
    if config.get("init_from") is not None:
        require_checkpoint("init_from", config.init_from)
    require_data(config)


def files_named(predictions: str | Sequence[str] | None) -> list[str]:
    """The files of `predictions=FILE`, or of `predictions=[FILE,FILE]`."""
    return [] if predictions is None else [predictions] if isinstance(predictions, str) else list(predictions)


def require_data(config: DictConfig) -> None:
    """Does nothing where the folder of each source is there, or the source makes its own, or the config has none, or is
    a pipeline's whose stages read other files.

    Raises:
        ValueError: a folder is missing; says where it was looked for, and which page tells how to get the data.
    """
    for message in missing_data(config):
        raise ValueError(message)


def missing_data(config: DictConfig, made_later: Path | None = None) -> Iterator[str]:
    """Of each source whose folder is missing, what `require_data` says; folders in `made_later` need not be there."""
    stages = OmegaConf.to_yaml(config.stages) if "stages" in config else None
    if stages is not None and not any(named in stages for named in ("${source", "${data", "${describe")):
        return
    sources = OmegaConf.select(config, "data.sources")
    names = OmegaConf.select(config, "data.train_on") or list(sources or ())
    for name in names if sources else ():
        node = sources.get(name)
        if node is None or "_target_" not in node:
            continue  # which is said later, with the names that there are
        source = build(node)
        if makes_its_own(source) or _lies_in(Path(source.root), made_later):
            continue
        try:
            require_folder(Path(source.root), source.name, source.docs_page)
        except ValueError as error:
            yield str(error)


def require_drawn(sources: Iterable[Any], data_dir: str, asked: bool, run: Path) -> None:
    """Does nothing where each generated set of a run is there, or it was `asked` for in this very folder (a data
    folder was named). What makes the same set again would take minutes, and room, without a word.

    Raises:
        ValueError: a set is not there; says where it was looked for, and where it is if it lies beside the `run`.
    """
    for source in sources:
        root = Path(source.root).absolute()
        if asked or not makes_its_own(source) or root.exists():
            continue
        folders = (folder / "data" for folder in run.resolve().parents)
        there = next((folder for folder in folders if (folder / root.name).is_dir()), None)
        where = "" if there is None else f"it is in {there}: {in_shell(override('data_dir', there))}; "
        raise ValueError(
            f"No {source.name} data of this run: looked in {root}; {where}to have it made here, which takes minutes:"
            f" {in_shell(override('data_dir', data_dir))}"
        )


def names_data_folder(words: Iterable[str]) -> bool:
    """Whether a command, with these overrides, or the environment says where data lie."""
    named = any(re.match(r"\+*(data_dir=|data\.root=|data\.sources\..*\.root=)", word) for word in words)
    return named or "DIPTYCH_DATA" in os.environ


def _lies_in(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.absolute().is_relative_to(folder)


def makes_its_own(source: Any) -> bool:
    """Whether the source's class says how to make the data: what a contract says by default makes nothing."""
    kinds = (kind for kind in type(source).__mro__ if not kind.__module__.startswith("diptych.contracts."))
    return any("prepare" in vars(kind) for kind in kinds)
