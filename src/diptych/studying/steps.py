"""A step as a process: its words with folders and addresses in place, its config, the command that starts it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diptych.config.command_line import composed, with_open_sections
from diptych.config.override_words import in_shell, override
from diptych.config.presence import missing_data
from diptych.config.short_names import FULL_NAMES, OPEN_SECTIONS
from diptych.storage.run_status import change_status
from diptych.studying.plan import DATA, PLACEHOLDER, Step, Study, filled
from diptych.sweeping.cluster import Cluster, Run
from diptych.sweeping.prepared_run import prepared_run
from diptych.sweeping.run_words import check_run, run_words

SERVER = "diptych.synthetic.server"
PAIRS = "pairs.jsonl"  # in the folder of a step that writes some
_ANY_ADDRESS = "http://127.0.0.1:1/v1"  # where the one that will be is not yet known
_IN_HYDRA = re.compile(rf"(['\"]?){PLACEHOLDER.pattern}([\w./-]*)")


class Steps:
    """The steps of a study in its `folder`; `own` is a folder of the user's configs, which steps compose with."""

    def __init__(self, study: Study, folder: Path, own: Path | None = None) -> None:
        self._study, self._folder, self._own = study, folder, own
        self._checked: dict[str, DictConfig] = {}  # of the first seed's steps, by name

    def folder(self, name: str) -> Path:
        """Where the step of this name works."""
        return self._folder / "steps" / name

    def kind(self, name: str) -> str:
        """What the step of this name does, one of `plan.KINDS`."""
        return self._study.steps[name].kind

    def words(self, step: Step, addresses: Mapping[str, str]) -> list[str]:
        """The step's words as its command takes them; any address for servers that are not among the `addresses`."""
        values = {name: str(self.folder(name)) for name in self._study.steps}
        values |= {name: _ANY_ADDRESS for name, one in self._study.steps.items() if one.kind == "serve"}
        values |= {DATA: os.environ.get("DIPTYCH_DATA", "data"), **addresses}
        if step.kind == "serve":
            return [filled(word, values.__getitem__) for word in step.words]
        return [_IN_HYDRA.sub(lambda found: _quoted_where_needed(found, values), word) for word in step.words]

    def check(self, cluster: Cluster) -> None:
        """Composes every step of the first seed, and checks its config as far as it can be before anything is run.

        Raises:
            ValueError: one cannot be run; names its arms and the step.
        """
        first = self._study.seeds[0]
        names = {name: arm.name for arm in reversed(self._study.arms) for name in arm.steps[first]}
        for step in self._study.steps.values():
            if step.name not in names or step.kind == "serve":
                continue
            try:
                words = self.words(step, {})
                if step.kind == "pairs":
                    own = [] if self._own is None else [f"config_dir={self._own}"]
                    self._checked[step.name] = _config_of_pairs([*words, *own])
                    continue
                config = self._composed(step, [*words, *cluster.overrides(_by_key(words))])
                check_run(step.kind, config)
                run_words(step.kind, config, words, self.folder(step.name))
            except ValueError as error:
                raise ValueError(
                    f"study/{self._study.name}.yaml: arm {names[step.name]}, {step.kind} ({step.name}): {error}"
                ) from error
            self._checked[step.name] = config

    def require_data(self, done: Collection[str]) -> None:
        """Asks whether the data that the steps of `check` read is there, unless they are `done` or other steps make it.

        Raises:
            ValueError: some is not; says all that is missing, and which pages tell how to get it.
        """
        missing: dict[str, str] = {}
        for name, config in self._checked.items():
            for message in missing_data(config, self._folder) if name not in done else ():
                missing.setdefault(message, name)
        if missing:
            told = "".join(f"\n{name}: {message}" for message, name in missing.items())
            raise ValueError(
                f"study {self._study.name} cannot begin; nothing was run (DIPTYCH_DATA names the folder of all sets)."
                + told
            )

    def prepared(self, step: Step, cluster: Cluster, addresses: Mapping[str, str]) -> Run:
        """The step's run: its folder has its config, and its status names the words as the plan has them."""
        words = self.words(step, addresses)
        start = [sys.executable, "-m", "diptych", step.kind]
        start += [] if self._own is None else [f"--config-dir={self._own}"]
        folder = self.folder(step.name)
        if step.kind == "pairs":
            change_status(folder, overrides=step.words)
            return Run(folder, (*start, *words, f"out={folder / PAIRS}"))
        told = [*words, *cluster.overrides(_by_key(words))]
        return prepared_run(step.kind, self._composed(step, told), step.words, told, folder, start)

    def server_command(self, step: Step, addresses: Mapping[str, str]) -> list[str]:
        """What starts the server of the step."""
        return [sys.executable, "-m", SERVER, *self.words(step, addresses)]

    def shown(self, step: Step) -> str:
        """The step as a line that people type into a shell: its address is where servers are asked for."""
        addresses = {name: "ADDRESS" for name in step.needs if self._study.steps[name].kind == "serve"}
        words = self.words(step, addresses)
        if step.kind == "serve":
            return in_shell("python", "-m", SERVER, *words)
        where = [] if self._own is None else [f"--config-dir={self._own}"]
        out = [override("out", PAIRS)] if step.kind == "pairs" else []
        return in_shell("diptych", step.kind, *where, *words, *out)

    def _composed(self, step: Step, words: list[str]) -> DictConfig:
        full = with_open_sections(FULL_NAMES.get(step.kind, list)(words), OPEN_SECTIONS.get(step.kind, ()))
        config = composed(step.kind, [*full, *([] if self._own is None else [f"config_dir={self._own}"])])
        OmegaConf.set_readonly(config, False)
        return config


def _config_of_pairs(words: list[str]) -> DictConfig:
    if refused := [word for word in words if word.startswith("out=")]:
        raise ValueError(f"{refused[0]}: they are written into the step's folder, <pairs>/{PAIRS}; leave out= away")
    own = ("split=", "images_root=", "aspects=", "num_pairs=", "without=")
    return composed("train", [word for word in words if not word.startswith(own)])


def _by_key(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words if "=" in word)


def _quoted_where_needed(found: re.Match[str], values: Mapping[str, str]) -> str:
    """The path, with what stands behind it, as Hydra reads it."""
    quote, name, rest = found.groups()
    text = values[name] + rest
    return quote + text if quote else override("", text).removeprefix("=")
