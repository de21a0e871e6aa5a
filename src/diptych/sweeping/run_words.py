"""What each command is told for one run of a sweep, so that the run lies in its folder and can be started again there.

A training reads the config that lies in its folder. Evaluations and pipelines are told their own words again: they go
on by themselves where captions, or the records of a stage, were written before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diptych.config import checking
from diptych.config.override_words import override

_SET_BY_SWEEPS = ("resume", "join_run", "work_dir", "out")


def check_run(command: str, config: DictConfig) -> None:
    """Checks the config of one run as far as the run itself will before it builds anything.

    Raises:
        ValueError: a key is unknown, or a value is missing.
    """
    if command == "train":
        checking.check_data_fits_system(config)
        checking.check(config, checking.root_keys("train"))
    elif command == "evaluate":
        checking.check_evaluation(config)
    else:
        checking.check_given(config, later=(*_SET_BY_SWEEPS, "output"))


def run_words(command: str, config: DictConfig, words: Sequence[str], folder: Path) -> list[str]:
    """The words behind the command that starts the run of this config, made by `words`, in `folder`; or goes on there.

    Raises:
        ValueError: one of the words names a folder, and all runs would lie in it.
    """
    if command == "train":
        return [override("resume", folder), "hydra.output_subdir=null"]
    for word in words:
        if (key := word.partition("=")[0]) in _SET_BY_SWEEPS:
            raise ValueError(
                f"{word}: each run of a sweep has a folder of its own; leave {key} out, and say hydra.sweep.dir=DIR for"
                " the folder of all"
            )
    here = [override("hydra.run.dir", folder), "hydra.output_subdir=null"]
    if command == "evaluate":
        return [*words, override("resume", folder), *here]
    keys = list(config)  # `in` does not see those whose values are missing
    own = override("out" if "out" in keys else "work_dir", folder)
    if "output" not in keys:
        return [*words, own, *here]
    # One file: in the folder, under the name that it was given.
    name = "output" if OmegaConf.is_missing(config, "output") else Path(str(config.output)).name
    return [*(word for word in words if not word.startswith("output=")), override("output", folder / name), own, *here]
