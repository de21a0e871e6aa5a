"""The stages of a composed pipeline: which there are, in which order, and where their records lie.

A stage is a node below `stages`: the arguments of its class, and up to three words to the pipeline.

- `folder` is where its records lie, `<work_dir>/<name>` where it does not say.
- `for_each` names a mapping of the config, such as `encoders`: the node is one stage for each of its members, called
  `<name>_<member>`, and `${each}` in it is the member's name.
- `after` names another stage, behind which it runs; else stages run in the order of the config.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diptych.config.plain_config import plain_section
from diptych.storage.folder_names import check_folder_name

_WORDS = ("folder", "for_each", "after")
_EARLIER_MARK = "_ENCODER"  # what marked a stage for each encoder before there was `for_each`


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage of a pipeline: `name` is its own, `stage` that of its node; with `for_each` `each` is the member."""

    name: str
    stage: str
    each: str | None
    folder: Path


def stage_configs(config: DictConfig) -> list[StageConfig]:
    """The stages that are not null, in the order in which they run.

    Raises:
        ValueError: a word to the pipeline makes no sense, or `for_each` has nothing to stand for.
    """
    found = []
    for stage in _in_order(config):
        node = config.stages[stage]
        for each in [None] if node.get("for_each") is None else _members(config, stage, node.for_each):
            name = check_folder_name(stage if each is None else f"{stage}_{each}", "stages:")
            with _each_is(config, each):
                folder = node.get("folder")
            found.append(StageConfig(name, stage, each, Path(folder or Path(config.work_dir) / name)))
    return found


def stage_settings(config: DictConfig, one: StageConfig) -> dict[str, Any]:
    """The resolved arguments of a stage."""
    with _each_is(config, one.each):
        settings = plain_section(config.stages[one.stage])
    return {key: value for key, value in settings.items() if key not in _WORDS}


def folders(config: DictConfig, *stages: str) -> dict[str, str]:
    """The folders of these stages that there are, by name, in the order given; several of a stage with `for_each`."""
    known = stage_configs(config)
    return {one.name: str(one.folder) for stage in stages for one in known if one.stage == stage}


def folders_before(config: DictConfig, stage: str) -> dict[str, str]:
    """The folders of the stages that run before this one, by name, in their order."""
    before: dict[str, str] = {}
    for one in stage_configs(config):
        if one.stage == stage:
            break
        before[one.name] = str(one.folder)
    return before


def _in_order(config: DictConfig) -> list[str]:
    names = [str(name) for name in config.stages if config.stages[name] is not None]  # null: switched off
    for name in list(names):
        if name.endswith(_EARLIER_MARK):
            stage = name.removesuffix(_EARLIER_MARK)
            raise ValueError(f"stages.{name} is stages.{stage} now: what it says holds for every encoder")
        after = config.stages[name].get("after")
        if after is None:
            continue
        names.remove(name)
        if after not in names:
            raise ValueError(
                f"stages.{name}.after={after}: there is no such other stage; name one of {', '.join(names)}"
            )
        names.insert(names.index(after) + 1, name)
    return names


def _members(config: DictConfig, stage: str, group: str) -> list[str]:
    members = config.get(group)
    if not OmegaConf.is_dict(members):
        raise ValueError(f"stages.{stage}.for_each={group}: the config has no mapping of that name")
    if not members and group == "encoders":
        raise ValueError(
            f"pipeline={config.name} has no encoder to search with; choose data=newsroom or data=openevents, which have"
            " some, or add one: +encoder@encoders.clip=clip_b32"
        )
    if not members:
        raise ValueError(f"stages.{stage}.for_each={group}: {group} is empty; add a member, or leave the stage out")
    return [str(member) for member in members]


@contextmanager
def _each_is(config: DictConfig, each: str | None) -> Iterator[None]:
    """`${each}` of the config for the time."""
    before = config.get("each")
    config.each = each
    try:
        yield
    finally:
        config.each = before
