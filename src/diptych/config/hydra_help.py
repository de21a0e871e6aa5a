"""`--help` of a command that Hydra composes, made from its primary config: what can be set, and what chosen."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from diptych.config.folder import CONFIG_FOLDER

_WIDTH = 110
_FIRST = ("experiment", "pipeline", "data")  # groups that a user chooses first
_KEY = re.compile(r"^(\w+): *([^#]*?) *(?:# *(.*))?$")


def help_of(name: str, config_name: str, summary: str) -> str:
    """The usage lines at the head of `conf/<config_name>.yaml`, its keys with their comments, its groups with their
    choices: everything out of the files, so that a new config shows up by itself.
    """
    lines = (CONFIG_FOLDER / f"{config_name}.yaml").read_text(encoding="utf-8").splitlines()
    head = [line.lstrip("# ") for line in _head(lines)]
    keys = [match for match in map(_KEY.match, _own_keys(lines)) if match]
    groups = _groups(lines)
    usage = [piece for line in head for piece in textwrap.wrap(line, _WIDTH, subsequent_indent="    ")]
    text = [f"{name}: {summary}", "", *usage, "", "settings (key=value):"]
    width = max(len(key[1]) for key in keys) + 2
    chosen = {group.rpartition("/")[2] for group in groups}
    for key in keys:
        note = " ".join(filter(None, (key[3], f"(default: {key[2]})" if key[2] not in ("null", "???") else "")))
        if not note and key[1] in chosen:  # its choices stand below
            continue
        text += textwrap.wrap(
            note or "-", _WIDTH, initial_indent=f"  {key[1]:<{width}}", subsequent_indent=" " * (width + 2)
        )
    text += ["", "choices (group=name), whose own keys are settings too, as data.batch_size=64:"]
    for group in sorted(groups, key=lambda group: (group not in _FIRST, group)):
        names = ", ".join(sorted(path.stem for path in (CONFIG_FOLDER / group).glob("*.yaml")))
        text += textwrap.wrap(names, _WIDTH, initial_indent=f"  {group}=", subsequent_indent=" " * (len(group) + 3))
    text += [
        "",
        "--cfg job shows the composed config, --config-dir DIR adds configs of your own, -m sweeps over",
        "comma-separated values (train, evaluate).",
    ]
    return "\n".join(text) + "\n"


def _head(lines: list[str]) -> list[str]:
    """The comment that opens the file."""
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return lines[:end]


def _own_keys(lines: list[str]) -> list[str]:
    """The scalar keys at the top level, after the defaults list and before Hydra's section."""
    start = next(number for number, line in enumerate(lines) if line.startswith("defaults:"))
    return [line for line in lines[start + 1 :] if re.match(r"\w", line) and not line.startswith("hydra:")]


def _groups(lines: list[str]) -> list[str]:
    """The groups of the defaults list that are folders of choices."""
    found = [match[1] for line in lines if (match := re.match(r"  - (?:optional |override )?([\w/]+)(?:@\w+)?:", line))]
    return [group for group in dict.fromkeys(found) if (Path(CONFIG_FOLDER) / group).is_dir() and "hydra" not in group]
