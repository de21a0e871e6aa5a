"""Where the configs lie."""

from __future__ import annotations

from pathlib import Path

CONFIG_FOLDER = Path(__file__).resolve().parents[3] / "conf"
