"""The frame of an entry point: composes under Hydra, and says a user's mistake in one message."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

import diptych
from diptych.config.checking import suggest
from diptych.config.data_files import with_data_files
from diptych.config.earlier_configs import advice_on
from diptych.config.folder import CONFIG_FOLDER, refuse_hidden_configs, user_config_folder
from diptych.config.habits import habit
from diptych.config.light_imports import import_lightly
from diptych.config.lost_processes import lost_process
from diptych.config.misread_words import refuse_misread, refuse_windows_path
from diptych.config.override_words import as_meant, in_shell, override, quoted, unquoted, with_home
from diptych.config.plain_config import leaves
from diptych.config.presence import require_inputs
from diptych.config.resolvers import register_resolvers, shared_folder
from diptych.config.run_places import runs_folder
from diptych.config.secret_words import refuse_secrets
from diptych.extras import missing_extra
from diptych.parallel.job import leave, part_of_several
from diptych.parallel.private_parts import set_command_of_ranks
from diptych.storage.unbegun import remove_unbegun
from diptych.text.printable import PrintableRecord, printable

Task = Callable[[DictConfig], Any]
_called_as = [sys.argv[0]]  # the program and its words before the settings, as the user typed them


def entry_point(
    config_name: str,
    task: Task | str,
    arguments: Sequence[str] | None = None,
    open_sections: Sequence[str] = (),
    rewrite: Callable[[Sequence[str]], list[str]] = list,
) -> int:
    """Composes a primary config under Hydra and calls `task(config)`; returns the exit status. A user's mistake ends
    in one clear message and 1, no traceback. `arguments` are those of the command line unless given.

    A task that is named, `module:function`, is imported once the config stands, and its data was found: mistakes are
    answered before torch is imported. `open_sections` are those of `with_open_sections`; `rewrite` turns the arguments
    into others before anything else.
    """
    logging.setLogRecordFactory(PrintableRecord)
    words = list(sys.argv[1:] if arguments is None else arguments)
    if sys.argv[1:][-len(words) :] == words:
        _called_as[:] = sys.argv[: len(sys.argv) - len(words)]
    register_resolvers()
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach us, not Hydra's printer

    raised: list[Exception] = []
    made: list[Path] = []
    had_runs = runs_folder().exists()

    def run(config: DictConfig) -> Any:
        try:
            output_dir = HydraConfig.get().runtime.output_dir
            # That of a pipeline is called by the user, and may be in use.
            if HydraConfig.get().mode == RunMode.RUN and config_name != "pipeline" and not shared_folder(words):
                made.append(Path(output_dir))
            if config.get("validate"):
                raise ValueError("validate: to look at a command without running it, write validate=true on its line")
            called = _imported(task, config) if isinstance(task, str) else task
            own_folder = override("hydra.run.dir", output_dir)
            set_command_of_ranks([*starting_command(), *words, own_folder])
            return called(config)
        except Exception as error:
            if HydraConfig.get().mode != RunMode.RUN:
                raise
            raised.append(error)  # past Hydra, which would print all words of the command above our message
            return None

    main = hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name=config_name)(run)
    try:
        refuse_secrets(words)
        refuse_hidden_configs(own := user_config_folder(words))
        refuse_misread(words, config_name, _names("experiment", own))
        words = with_open_sections([as_meant(word) for word in with_data_files(rewrite(words))], open_sections)
        set_command_line([sys.argv[0], *words])
        if "validate=true" in (word.lstrip("+").lower() for word in words):
            return _validate(config_name, words)
        main()
        if raised:
            raise raised[0]
    except Exception as error:
        mistake = isinstance(error, (HydraException, OmegaConfBaseException, ValueError, OSError))
        said = lost_process(error) or (explain(error, config_name) if mistake or missing_extra(error) else None)
        if said is None or os.environ.get("DIPTYCH_TRACEBACK"):
            if not part_of_several():
                raise
            traceback.print_exc()
        else:
            sys.stderr.write(f"\nerror: {printable(said)}\n(DIPTYCH_TRACEBACK=1 shows where it came from)\n")
            for folder in () if part_of_several() else made:
                remove_unbegun(folder, runs_folder(), with_it=not had_runs)
        leave(1)
        return 1
    return 0


def _validate(config_name: str, words: Sequence[str]) -> int:
    """Looks at a command instead of running it; returns the exit status, 1 where something is missing."""
    flags = [word for word in words if word.startswith("-")]
    if {"-m", "--multirun"}.intersection(flags):
        raise ValueError("validate=true looks at one run: leave out -m, and write one value of each setting")
    settings = [word for word in words if "=" in word or word.startswith("~")]
    config = _compose(config_name, [w for w in settings if not w.startswith("-")], user_config_folder(words), True)
    import_lightly()
    return int(importlib.import_module("diptych.commands.validating").validate(config_name, config))


def with_open_sections(words: Sequence[str], sections: Sequence[str]) -> list[str]:
    """The overrides, in which keys of these sections may be set although no config names them, unless a config is
    chosen for the section: `evaluate.py data.root=...` changes the data section that lies in the checkpoint.
    """
    chosen = {name for name in sections for word in words if word.startswith(f"{name}=") or f"@{name}=" in word}
    free = tuple(f"{name}." for name in sections if name not in chosen)
    return [f"++{word}" if word.startswith(free) else word for word in words]


def shown_command(*words: str) -> str:
    """How a person calls this program again with these words, for a shell: `python train.py resume=...`,
    `diptych train resume=...`, `python -m diptych.pipeline`.
    """
    script, *command = _called_as
    name = Path(script).name
    if door := _door(script):
        return in_shell("python", "-m", door, *words)
    return in_shell(*(["python", name] if name.endswith(".py") else [name, *command]), *words)


def starting_command() -> tuple[str, ...]:
    """What starts this program in another process, before its settings: the interpreter, then `-m` and the name of a
    door of the package, or the script's full path; then the words of the command.
    """
    script, *words = _called_as
    door = _door(script)
    return (sys.executable, *(("-m", door) if door else (str(Path(script).resolve()),)), *words)


def _door(script: str) -> str | None:
    """`diptych.pipeline`, where the program was started as `python -m diptych.pipeline`: a file of the package itself,
    which run by its path would put the package's rooms in the way of other modules of the same names.
    """
    path = Path(script).resolve()
    return f"diptych.{path.stem}" if path.parent == Path(diptych.__file__).resolve().parent else None


def _imported(task: str, config: DictConfig) -> Task:
    require_inputs(config)
    import_lightly()
    module, _, function = task.partition(":")
    return getattr(importlib.import_module(module), function)


def set_command_line(command: Sequence[str]) -> None:
    """Makes this process one that was started with another command line, which Hydra reads: `train.py key=value`."""
    sys.argv = list(command)


def composed(config_name: str, overrides: Sequence[str], as_run: bool = False) -> DictConfig:
    """A primary config with these overrides, for commands that Hydra does not run. `config_dir=DIR` among them adds
    configs of the user's own, as Hydra's flag `--config-dir` does. With `as_run` Hydra's own config is known too, as if
    it ran the command: what was typed, and what was chosen.

    Raises:
        ValueError: there is no such config or key (offers the nearest), or Diptych's own hides one of the user's.
    """
    register_resolvers()
    refuse_secrets(overrides)
    for word in overrides:
        refuse_windows_path(word)
    words = [as_meant(word) for word in with_data_files(overrides) if not word.startswith("config_dir=")]
    named = [with_home(word.removeprefix("config_dir=")) for word in overrides if word.startswith("config_dir=")]
    own = [f"--config-dir={folder}" for folder in named]
    refuse_hidden_configs(user_config_folder(own))
    try:
        return _compose(config_name, words, user_config_folder(own), as_run)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, config_name, [*words, *own])) from error


def explain(error: Exception, config_name: str, arguments: Sequence[str] | None = None) -> str:
    """The error in one message; for a key or config that there is not, the nearest ones that there are. `arguments` are
    those of the command line unless given.
    """
    words = sys.argv[1:] if arguments is None else arguments
    own = user_config_folder(words)
    missing = missing_extra(error)
    if missing is not None:
        return str(missing)
    message = str(error).strip()
    if "Missing mandatory value: name" in message and config_name == "pipeline":
        return f"no pipeline is named; choose one: pipeline={', pipeline='.join(_names('pipeline', own))}"
    if "Missing mandatory value: name" in message:
        known = ", ".join(_names("experiment", own))
        return f"no experiment is named; try experiment=cir_rooms, or one of {known} (the key 'name' is unset)"
    if found := _NO_CONFIG.search(message):
        group, name = found[1], found[2]
        return f"there is no {group}={name}.{suggest(name, _names(group, own))}"
    if isinstance(error, OverrideParseException):
        return _how_to_write(error.override)
    if found := _SEVERAL.search(message):
        key, _, value = found[1].partition("=")
        return (
            f"{found[1]} has commas: as a text write {in_shell(f'{key}={quoted(value)}')}, as a list"
            f" {in_shell(f'{key}=[{value}]')}, to run the command for each of them add -m"
        )
    if isinstance(error, InterpolationResolutionError) and (found := _RESOLVED.match(message)):
        return found[1]
    cause = error.__cause__ or error.__context__
    if isinstance(error, HydraException) and "not in struct" in f"{message} {cause}":
        key = message.split("'")[1].split("=")[0].lstrip("+~") if "'" in message else message
        plain = OmegaConf.to_container(_compose(config_name, _without(key, words), own))
        return (
            f"unknown key {key!r}.{habit(key) or advice_on(key) or suggest(key, [name for name, _ in leaves(plain)])}"
        )
    if isinstance(error, HydraException) and cause is not None and not isinstance(cause, HydraException):
        return str(cause).strip()
    return message


_NO_CONFIG = re.compile(r"Could not (?:find|load) '([\w/]+)/([^/']+)'")  # one of a list cannot be loaded
_RESOLVED = re.compile(r"(?:ValueError|OSError) raised while resolving interpolation: (.*)")  # of our own resolvers
_SEVERAL = re.compile(r"Ambiguous value for argument '(.*?)'\n1\. ", re.DOTALL)


def _how_to_write(word: str) -> str:
    """What to say of a word that Hydra cannot read."""
    key, equals, value = word.partition("=")
    parts = [quoted(unquoted(part.strip())) for part in value[1:-1].split(",")]
    in_quotes = f"[{','.join(parts)}]" if value.startswith("[") and value.endswith("]") else quoted(value)
    try:
        OverridesParser.create().parse_override(f"{key}={in_quotes}")
    except HydraException:
        equals = ""  # it is the key that cannot be read
    if not equals:
        return f"{word!r} is no setting: they are written key=value, and keys are names with dots between them"
    if value.startswith("{"):
        return f"{word} cannot be read as it stands; write texts in the braces in quotes: {{key: 'a (1)'}}"
    return f"{word} cannot be read as it stands; write the value in quotes: {in_shell(f'{key}={in_quotes}')}"


def _compose(config_name: str, overrides: Sequence[str], own: Path | None, as_run: bool = False) -> DictConfig:
    search = [f"hydra.searchpath=[{quoted(f'file://{own}')}]"] if own else []
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        whole = hydra.compose(config_name, overrides=[*overrides, *search], return_hydra_config=as_run)
    if not as_run:
        return whole
    HydraConfig.instance().set_config(whole)
    return OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])


def _names(group: str, own: Path | None) -> list[str]:
    """The configs of a group, the user's own included."""
    return sorted({path.stem for folder in (CONFIG_FOLDER, own) if folder for path in (folder / group).glob("*.yaml")})


def _without(key: str, words: Sequence[str]) -> list[str]:
    """The overrides that compose without the offending one: the group choices and the experiment."""
    return [
        word
        for word in words
        if "=" in word
        and not word.startswith(("-", "hydra"))
        and word.split("=")[0] in ("experiment", "pipeline", "study", "data", "trainer", "system/model")
        and key not in word
    ]
