"""Draws docs/images/result.png, the picture of README.md: ordinary queries out of the report of an evaluation.

    python docs/images/result.py runs/cir_rooms/eval/DATE        # the folder that evaluate.py has named

The rows are the first of the report's random draw, right or wrong, and the headline is the sheet's own.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from diptych.report.write import SHEET_WORST

HEADER, HEADING, ROW = 130, 36, 184  # of `diptych.report.sheet`: pixels above the first heading, of a heading, of a row
NUM_QUERIES = 4
WIDTH = 1100


def main(evaluation: Path) -> None:
    """Cuts the rows out of `evaluation/report/sheet.jpg`."""
    sheet = Image.open(evaluation / "report" / "sheet.jpg")
    first = HEADER + HEADING + SHEET_WORST * ROW + HEADING
    picture = Image.new("RGB", (sheet.width, HEADER + NUM_QUERIES * ROW), "white")
    picture.paste(sheet.crop((0, 0, sheet.width, HEADER)), (0, 0))
    picture.paste(sheet.crop((0, first, sheet.width, first + NUM_QUERIES * ROW)), (0, HEADER))
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    colours = picture.quantize(256, dither=Image.Dither.NONE)
    colours.save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
