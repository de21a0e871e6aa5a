"""Words of a command line that Hydra would not read as what was meant: one line that says what to type."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from diptych.config.override_words import in_shell, is_text, override, quoted, unquoted

# Hydra's own flags: those whose value is the next word, and those that stand alone.
_WITH_VALUE = (
    *("--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--cfg", "-c"),
    "--experimental-rerun",
)
_ALONE = (
    *("--multirun", "-m", "--run", "-r", "--resolve", "--help", "-h", "--hydra-help", "--version", "--info", "-i"),
    *("--shell-completion", "-sc"),
)
_OF_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_DRIVE = re.compile(r"([A-Za-z]):[\\/]")


def refuse_misread(words: Sequence[str], command: str, experiments: Collection[str] = ()) -> None:
    """Does nothing where each word is a setting or a flag of Hydra's. `command` is that of the primary config,
    `experiments` are those that there are.

    Raises:
        ValueError: a word is neither, a list or a name is in pieces because of its spaces, or a path is Windows'.
    """
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        if flag in _WITH_VALUE:
            rest = rest if equals else rest[1:]
        elif flag in _ALONE:
            rest = rest[1:] if rest and rest[0] in _OF_INFO else rest
        elif word.startswith("--") and len(word) > 2:
            key, value = flag[2:].replace("-", "_"), value if equals else next(iter(rest), "...")
            typed = f"{key}=..." if "=" in value or value == "..." else in_shell(override(key, value))
            raise ValueError(f"{flag}: settings are written key=value, without dashes: {typed}")
        else:
            _refuse_pieces(word, rest)
            if not equals and not word.startswith(("~", "-")):
                raise ValueError(_bare(word, command, experiments))
            refuse_windows_path(word)


def refuse_windows_path(word: str, of_path: bool = False) -> None:
    """ValueError where the value of a setting that is `of_path`, or has a name that says so, is a path as Windows has
    them, and this is another system: a folder of that very name would be made.
    """
    key, _, value = word.partition("=")
    path = unquoted(value)
    if os.name == "nt" or not (of_path or is_text(key)) or Path(path).exists():
        return
    drive = _DRIVE.match(path)
    if drive is None and ("\\" not in path or "/" in path):
        return
    here = path.replace("\\", "/")
    if drive is not None and Path("/mnt", drive[1].lower()).is_dir():  # the Linux that runs in Windows
        here = f"/mnt/{drive[1].lower()}/{here[3:]}"
    typed = "name the folder by its path here" if _DRIVE.match(here) else f"type {in_shell(override(key, here))}"
    raise ValueError(f"{key}={path} is a path as Windows writes it: {typed}")


def _refuse_pieces(word: str, rest: Sequence[str]) -> None:
    """ValueError where the shell has cut a setting at its spaces: a list, `data=[cirr, hotel_cir]`, or a name."""
    key, equals, value = word.partition("=")
    pieces = [value]
    if not equals or value[:1] in ("'", '"'):
        return
    if value.startswith("[") and value.count("[") > value.count("]"):
        for piece in rest:
            if "=" in piece or piece.startswith("-"):
                return
            pieces.append(piece)
            if piece.endswith("]"):
                listed = ",".join(filter(None, (part.strip() for part in " ".join(pieces)[1:-1].split(","))))
                raise ValueError(
                    f"{key}={' '.join(pieces)} has spaces, at which a shell cuts it: type"
                    f" {in_shell(f'{key}=[{listed}]')}"
                )
        return
    for piece in rest:
        if "=" in piece or piece.startswith(("-", "~", "+")):
            break
        pieces.append(piece)
    if len(pieces) > 1 and is_text(key):
        whole = " ".join(pieces)
        raise ValueError(
            f"{key}={whole} has spaces, at which a shell cuts it: type {in_shell(f'{key}={quoted(whole)}')}"
        )


def _bare(word: str, command: str, experiments: Collection[str]) -> str:
    """What to say of a word without `=`."""
    said = f"{word!r} is no setting: they are written key=value, and keys are names with dots between them"
    key = {"train": "experiment", "pipeline": "pipeline"}.get(command)
    if command == "evaluate":
        of_model = "/" in word or word.endswith(".ckpt") or Path(word).exists()
        key = "predictions" if word.endswith((".json", ".jsonl")) else "ckpt" if of_model else None
    elif command == "train" and word not in experiments:
        key = "resume" if (Path(word) / "config.yaml").is_file() else None
    elif key == "pipeline" and "/" in word:
        key = None
    return said if key is None else f"{word!r} is no setting: type {in_shell(override(key, word))}"
