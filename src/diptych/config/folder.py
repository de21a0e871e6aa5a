"""Where the configs lie."""

from __future__ import annotations

from pathlib import Path

import diptych

CONFIG_FOLDER = Path(diptych.__file__).resolve().parent / "conf"
