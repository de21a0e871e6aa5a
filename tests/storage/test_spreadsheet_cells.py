"""What a spreadsheet program takes for a formula, and what stays as it is."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import diptych
from diptych.storage.spreadsheet_cells import harmless_cell


@pytest.mark.hostile("further doors")
@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "-", "=", "+cmd|' /C calc'!A0"]
)
def test_formulas_become_texts(text):
    assert harmless_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "a=1", "-5", "+1e-3", "-inf", -5, 0.5, None, math.inf, "'=1", "lr=-1"])
def test_numbers_and_other_texts_stay(value):
    assert harmless_cell(value) is value


FOR_PROGRAMS = {"layout.py", "base_caption_output.py"}  # what these write is read back as it is


def test_tables_for_people_have_harmless_cells():
    files = Path(diptych.__file__).parent.rglob("*.py")
    writers = {path for path in files if "csv.writer(" in path.read_text() or "csv.DictWriter(" in path.read_text()}
    assert {path.name for path in writers if "harmless_cell(" not in path.read_text()} == FOR_PROGRAMS
    assert len(writers) == 6
