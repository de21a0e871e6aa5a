"""What the commands that make generated sets have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from rich.logging import RichHandler

log = logging.getLogger(__name__)


class SetSettings(Protocol):
    """The settings of a generated set, a `seed` among them."""

    @property
    def seed(self) -> int:
        """Of all random numbers."""


Settings = TypeVar("Settings", bound=SetSettings)


def run_generator(
    name: str,
    out: Path | None,
    sheet: Path | None,
    workers: int | None,
    settings: Settings,
    generate: Callable[[Path, Settings, int | None, bool], Path],
    draw_sheet: Callable[[int], np.ndarray],
) -> None:
    """Writes the set called `name` into `out`, a contact sheet of it into the file `sheet`, or both.

    `generate` takes the folder, the settings, the number of processes (None: one a processor) and whether to show
    progress; `draw_sheet` takes the seed, and returns an RGB picture.

    Raises:
        ValueError: neither is wanted, or as `generate`.
    """
    if out is None and sheet is None:
        raise ValueError("say where to: out=FOLDER for the set, sheet=FILE.png for a contact sheet, or both")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    if sheet is not None:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(sheet), cv2.cvtColor(draw_sheet(settings.seed), cv2.COLOR_RGB2BGR))
        log.info("contact sheet in %s", sheet)
    if out is not None:
        log.info("%s set in %s", name, generate(out, settings, workers, True))
