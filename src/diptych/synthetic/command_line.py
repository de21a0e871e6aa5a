"""The `key=value` settings of the commands that make generated sets and serve questions about them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cv2
import numpy as np
from rich.logging import RichHandler

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
_EXPECTED = {int: "a whole number", float: "a number"}

log = logging.getLogger(__name__)


def read_settings(arguments: Sequence[str], readers: Mapping[str, Callable[[str], Any]], usage: str) -> dict[str, Any]:
    """What the arguments set, each value as the reader of its key understands it; keys that are not set are left out.

    `--help` among them prints the usage and ends the process.

    Raises:
        ValueError: an argument is no `key=value`, has a key without a reader, or a value that its reader refuses.
    """
    if {"-h", "--help"}.intersection(arguments):
        sys.stdout.write(usage)
        raise SystemExit(0)
    settings = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals or key not in readers:
            raise ValueError(f"{argument}: settings are written key=value, and the keys are {', '.join(readers)}")
        try:
            settings[key] = readers[key](text)
        except ValueError as error:
            raise ValueError(f"{argument}: expected {_EXPECTED.get(readers[key], error)}") from error
    return settings


def run_generator(
    arguments: Sequence[str],
    name: str,
    settings_type: type[Settings],
    generate: Callable[[Path, Settings, int | None, bool], Path],
    draw_sheet: Callable[[int], np.ndarray],
) -> int:
    """The command that writes the set called `name`, a contact sheet of it, or both; 2 if that is not possible.

    Beside `out`, `sheet` and `workers`, every setting of the set is a key: whole numbers, among them a `seed`.
    `generate` takes the folder, the settings, the number of processes (None: one a processor) and whether to show
    progress; `draw_sheet` takes the seed and returns an RGB picture.
    """
    defaults = asdict(settings_type())
    command = f"python -m diptych.synthetic.{name}.generate"
    usage = (
        f"usage: {command} out=FOLDER [workers=NUMBER] [key=value ...]    write the {name} set\n"
        f"       {command} sheet=FILE.png [seed=NUMBER]    write a contact sheet\n"
        f"keys:  {' '.join(f'{key}={value}' for key, value in defaults.items())}\n"
    )
    readers = {"out": Path, "sheet": Path, "workers": int, **dict.fromkeys(defaults, int)}
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    try:
        given = read_settings(arguments, readers, usage)
        out, sheet, workers = (given.pop(key, None) for key in ("out", "sheet", "workers"))
        if out is None and sheet is None:
            raise ValueError(usage.rstrip())
        settings = settings_type(**given)
        if sheet is not None:
            sheet.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(sheet), cv2.cvtColor(draw_sheet((defaults | given)["seed"]), cv2.COLOR_RGB2BGR))
            log.info("contact sheet in %s", sheet)
        if out is not None:
            log.info("%s set in %s", name, generate(out, settings, workers, True))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0
