"""Commands without Hydra: a function's signature is the command line, its docstring the help.

    def export(*, ckpt: Annotated[Path, "a checkpoint, or a run directory"], merge: bool = False) -> int:
        '''Write a trained adapter for other programs.'''

is called by `run(export, "diptych export", ["ckpt=runs/x/latest", "merge=true"])`. Positional-only parameters are
words without a key; `*overrides` takes the settings whose key is no parameter, for Hydra to compose.
"""

from __future__ import annotations

import difflib
import inspect
import logging
import shutil
import sys
import textwrap
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from diptych.config.lost_processes import lost_process
from diptych.config.misread_words import refuse_windows_path
from diptych.config.override_words import with_home
from diptych.text.printable import PrintableRecord, printable

_HELP = {"-h", "--help", "help=true"}
_WIDTH = 100


def run(function: Callable[..., int | None], name: str, arguments: Sequence[str]) -> int:
    """Calls the function with what the arguments say, and returns its exit status (None counts as 0).

    `--help` prints the help and returns 0. A setting that cannot be read, and a ValueError or OSError of the function,
    end in one message on the standard error and 2.
    """
    logging.setLogRecordFactory(PrintableRecord)
    if _HELP.intersection(arguments):
        sys.stdout.write(help_of(function, name))
        return 0
    try:
        positional, settings = read(function, arguments)
        return function(*positional, **settings) or 0
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {printable(str(lost_process(error) or error))}\n")
        return 2
    except (RuntimeError, MemoryError) as error:
        if (said := lost_process(error)) is None:
            raise
        sys.stderr.write(f"error: {said}\n")
        return 1


def read(function: Callable[..., Any], arguments: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """The function's arguments out of a command line: positional ones, and settings by name.

    `--key value` and `--key=value` are read as `key=value`, dashes in the key as underscores.

    Raises:
        ValueError: a word is no setting, a key is unknown or set twice, a value is not of its type, or one is missing;
            the message names the key and shows the usage.
    """
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function, include_extras=True)
    words = [key for key, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_ONLY]
    keys = [key for key, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    takes_overrides = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    positional: list[Any] = []
    overrides: list[str] = []
    settings: dict[str, Any] = {}
    for argument in _plain(arguments, keys):
        key, equals, text = argument.partition("=")
        if not equals and len(positional) < len(words):
            name = words[len(positional)]
            positional.append(_value(name, argument, hints[name]))
        elif equals and key in keys:
            if key in settings:
                raise ValueError(f"{key} is set twice")
            settings[key] = _value(key, text, hints[key])
        elif equals and takes_overrides:
            overrides.append(argument)
        elif equals:
            near = difflib.get_close_matches(key, keys, n=2)
            known = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(keys)}"
            raise ValueError(f"unknown key {key!r}. {known}")
        else:
            raise ValueError(
                f"{argument!r} is no setting: they are written key=value, and the keys are {_listed(keys)}"
            )
    missing = [
        *(name for name in words[len(positional) :] if parameters[name].default is inspect.Parameter.empty),
        *(f"{key}=..." for key in keys if parameters[key].default is inspect.Parameter.empty and key not in settings),
    ]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing; usage: {usage(function, '').strip()}")
    unset = [parameters[name].default for name in words[len(positional) :]]  # or overrides would take their places
    return [*positional, *unset, *overrides], settings


def usage(function: Callable[..., Any], name: str) -> str:
    """One line: the command with its settings, those that may be left out in brackets."""
    hints = get_type_hints(function, include_extras=True)
    parts = [name]
    for key, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            parts.append("[key=value ...]")
            continue
        shown = key.upper() if parameter.kind is parameter.POSITIONAL_ONLY else f"{key}={_kind(hints[key])}"
        parts.append(shown if parameter.default is parameter.empty else f"[{shown}]")
    return " ".join(parts)


def help_of(function: Callable[..., Any], name: str) -> str:
    """The usage, the docstring's first paragraphs, and a line for each setting; for a terminal of up to 100 columns."""
    width = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    hints = get_type_hints(function, include_extras=True)
    text = inspect.getdoc(function) or ""
    lines = [*textwrap.wrap(f"usage: {usage(function, name)}", width, subsequent_indent="       "), ""]
    for paragraph in text.split("\n\nRaises:")[0].split("\n\n"):
        own = paragraph.startswith(" ")
        lines += [*(paragraph.splitlines() if own else textwrap.wrap(paragraph, width)), ""]
    rows = [
        (key, parameter, hints[key])
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL
    ]
    column = max((len(key) for key, _, _ in rows), default=0) + 2
    for key, parameter, hint in rows:
        note = " ".join(item for item in getattr(hint, "__metadata__", ()) if isinstance(item, str))
        if parameter.default not in (parameter.empty, None):
            default = str(parameter.default)
            note = f"{note} (default: {default.lower() if isinstance(parameter.default, bool) else default})".strip()
        lines += textwrap.wrap(
            note or _kind(hint), width, initial_indent=f"  {key:<{column}}", subsequent_indent=" " * (column + 2)
        )
    return "\n".join(lines).rstrip() + "\n"


def _plain(arguments: Sequence[str], keys: Sequence[str]) -> list[str]:
    """`--key value` as `key=value`."""
    plain: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and len(word) > 2:
            key, equals, text = word[2:].partition("=")
            key = key.replace("-", "_")
            if not equals and not rest:
                raise ValueError(f"{word} has no value; write {key}=...")
            word = f"{key}={text if equals else rest.pop(0)}"
        plain.append(word)
    return plain


def _value(key: str, text: str, hint: Any) -> Any:
    """The text as the type that the signature wants."""
    kind, optional = _bare(hint)
    if optional and text in ("", "null", "none", "None"):
        return None
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(f"{key}={text}: expected {_listed(get_args(kind), 'or')}")
        return text
    if get_origin(kind) in (list, tuple):
        item = get_args(kind)[0]
        return get_origin(kind)(
            _value(key, part.strip(), item)
            for part in text.removeprefix("[").removesuffix("]").split(",")
            if part.strip()
        )
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{key}={text}: expected true or false")
        return text.lower() == "true"
    if not text:
        raise ValueError(f"{key}= has no value")
    if kind is Path:
        refuse_windows_path(f"{key}={text}", of_path=True)
    try:
        return kind(with_home(text) if kind is Path else text)
    except ValueError:
        raise ValueError(f"{key}={text}: expected {_WORDS[kind]}") from None


_WORDS = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def _bare(hint: Any) -> tuple[Any, bool]:
    """The type under `Annotated` and `| None`, and whether None is allowed."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], True
    return hint, False


def _kind(hint: Any) -> str:
    kind, _ = _bare(hint)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) in (list, tuple):
        return f"[{_kind(get_args(kind)[0])},...]"
    return {bool: "true|false", int: "NUMBER", float: "NUMBER", Path: "PATH", str: "NAME"}.get(kind, "VALUE")


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f"{', '.join(names[:-1])} {word} {names[-1]}" if len(names) > 1 else "".join(names)
