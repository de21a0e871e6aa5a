"""`diptych`: every command by its name. What a command imports is imported when it is called, not before."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from pathlib import Path

from diptych.commands.catalogue import COMMANDS, FAMILIES, members
from diptych.commands.completion import script
from diptych.config.arguments import run as run_function
from diptych.config.own_weights import with_own_weights
from diptych.config.short_names import FULL_NAMES
from diptych.extras import missing_extra
from diptych.storage.json_values import encodable
from diptych.sweeping.resuming import of_resumed_sweep
from diptych.text.printable import printable


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that the first words name; without one, lists them all. Returns the exit status: 0 done, 1 the
    command found or met something wrong, 2 it could not be called like this.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(listing())
        return 0
    if words[0] == "--version":
        from diptych import __version__

        sys.stdout.write(f"diptych {__version__}\n")
        return 0
    if words[0] == "completion":
        return script(words[1:])
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        sys.stderr.write(f"error: {printable(unknown(words[0]))}\n")
        return 2
    return run(name, words[len(name.split()) :])


def run(name: str, arguments: Sequence[str]) -> int:
    """Runs one command; returns its exit status. Configs may name classes of packages in the working folder: it is
    looked in last, so that nothing there hides what is installed.

    What is printed always can be: a terminal or file of another encoding than UTF-8 gets `\\xe9` for what it does not
    have. Words that no file could hold are answered first (see `encodable`).
    """
    command = COMMANDS[name]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as the standard error is from the start
    for word in arguments:
        if encodable(word) != word:
            sys.stderr.write(f"error: {word!r} is not UTF-8 text, or has control characters; rename what it names\n")
            return 2
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    if command.config is None:
        module, _, function = command.target.partition(":")
        try:
            target = getattr(importlib.import_module(module), function)
        except ModuleNotFoundError as error:
            if (missing := missing_extra(error)) is None:
                raise
            sys.stderr.write(f"error: {missing}\n")
            return 2
        return run_function(target, f"diptych {name}", arguments)
    if {"-h", "--help"}.intersection(arguments):
        from diptych.config.hydra_help import help_of

        sys.stdout.write(help_of(f"diptych {name}", command.config, command.summary))
        return 0
    from diptych.config.command_line import entry_point

    names = FULL_NAMES.get(name, list)
    return entry_point(
        command.config,
        command.target,
        arguments,
        command.open_sections,
        lambda words: names(with_own_weights(name, of_resumed_sweep(words))),
    )


def listing() -> str:
    """All commands, a line each, but those of a family that has a summary of its own, which stand on one."""
    lines: dict[str, str] = {}
    for name, command in COMMANDS.items():
        family, _, member = name.partition(" ")
        if member and family in FAMILIES:
            lines[f"{family} {'|'.join(members(family))}"] = FAMILIES[family]
        else:
            lines[name] = command.summary
    width = max(map(len, lines)) + 2
    return "\n".join(
        [
            "usage: diptych COMMAND [key=value ...]        diptych COMMAND --help",
            *(f"  {name:<{width}}{summary}" for name, summary in lines.items()),
            'Tab completion, in bash or zsh:  eval "$(diptych completion bash)"',
            "",
        ]
    )


def unknown(word: str) -> str:
    """What to say of a first word that is no command."""
    import difflib

    family = [name for name in COMMANDS if name.split()[0] == word]
    if family:
        return f"diptych {word}: say which: {', '.join(family)}"
    near = difflib.get_close_matches(word, [name.split()[0] for name in COMMANDS], n=2)
    return f"there is no command {word!r}. " + (
        f"Did you mean {' or '.join(dict.fromkeys(near))}?" if near else "diptych --help lists them"
    )
