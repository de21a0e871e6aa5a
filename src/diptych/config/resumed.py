"""The settings of a run that is resumed: its own, with the few that may change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from diptych.config.override_words import in_shell, override

# What may change when a run is resumed; everything else would make it another run.
RESUME_OVERRIDES = (
    "trainer.",
    "callbacks.",
    "logger",
    "data.num_workers",
    "data.images_on",
    "data.root",
    "data.training.shards=",
    "data_dir",
    "evaluate_at_end",
)
_OF_THE_COMMAND = ("resume=", "join_run=", "trust_run=", "name=")


def with_changes(
    config: DictConfig, composed: DictConfig, words: Sequence[str], own: Collection[str], run_dir: Path
) -> DictConfig:
    """The run's `config`, changed by what the overrides `words` of the command line say, as Hydra has `composed` them:
    quoted values, choices of a group, additions and deletions. Those that the run was made with (`own`), or that say
    what its config says, change nothing.

    Raises:
        ValueError: an override would make it another run; names what may change.
    """
    parser = OverridesParser.create()
    changes = [parser.parse_override(word) for word in words if not word.startswith(_OF_THE_COMMAND)]
    refused = [
        str(change.input_line)
        for change in changes
        if not _may_change(change) and change.input_line not in own and not _says_the_same(change, config, composed)
    ]
    if refused:
        weights = in_shell(override("init_from", run_dir / "checkpoints/best.ckpt"))
        raise ValueError(
            f"resuming {run_dir} with {', '.join(refused)} would be another run; these may change: "
            f"{', '.join(RESUME_OVERRIDES)}. A new run from its weights: {weights}"
        )
    changed = config.copy()
    for change in filter(_may_change, changes):
        _apply(change, changed, composed)
    return changed


def without_command(words: Sequence[str]) -> list[str]:
    """The overrides that make a run, without those that say where it is resumed; sorted."""
    return sorted(word for word in words if not word.startswith(("resume=", "join_run=", "trust_run=")))


def _may_change(change: Override) -> bool:
    return str(change.input_line).lstrip("+~").startswith(RESUME_OVERRIDES)


def _place(change: Override) -> str | None:
    """Where in a config the choice of a group lies; None of what is no such choice."""
    group = str(change.key_or_group)
    return (change.package or group.replace("/", ".")) if group in HydraConfig.get().runtime.choices else None


def _says_the_same(change: Override, config: DictConfig, composed: DictConfig) -> bool:
    """Whether the run has the same where the override points to. Of an experiment, which points everywhere, no."""
    place = _place(change) or str(change.key_or_group)
    there = _value(composed, place)
    return there == _value(config, place) and (there is not None or "." in place or place in composed)


def _value(config: DictConfig, place: str) -> Any:
    try:
        value = OmegaConf.select(config, place)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:  # it refers to what is there only while the run is at work
        return _at(OmegaConf.to_container(config, resolve=False), place)


def _apply(change: Override, config: DictConfig, composed: DictConfig) -> None:
    key = str(change.key_or_group)
    above, _, name = key.rpartition(".")
    if (place := _place(change)) is not None:
        chosen = _at(OmegaConf.to_container(composed, resolve=False), place)
        OmegaConf.update(config, place, chosen, merge=False, force_add=True)
    elif change.is_delete():
        section = OmegaConf.select(config, above) if above else config
        if section is None or name not in section:
            raise ValueError(f"{change.input_line}: the run has no {key}")
        del section[name]
    else:
        OmegaConf.update(config, key, change.value(), merge=True, force_add=True)


def _at(plain: Any, place: str) -> Any:
    """What lies there in a plain config, interpolations as they are written; None where nothing does."""
    for part in place.split("."):
        plain = plain.get(part) if isinstance(plain, dict) else None
    return plain
