"""What came out of a sweep, or of any folder of runs: one table, one plot, and whether two runs really differ.

    python -m diptych.sweep table=DIR [price_per_device_hour=2.5]     DIR/sweep.csv, DIR/sweep.png, a table
    python -m diptych.sweep compare=[DIR/0,DIR/3]                     runs, or evaluations: [.../eval/A,.../eval/B]

It reads what runs leave and trains nothing: it can be called while a sweep is at work.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

_USAGE = (
    "usage: python -m diptych.sweep table=DIR [price_per_device_hour=2.5]\n"
    "       python -m diptych.sweep compare=[DIR/0,DIR/3]"
)


def main(arguments: Sequence[str]) -> int:
    """Make the table and the plot, or compare two runs; 2, with a message, if that is not possible."""
    settings = dict(argument.partition("=")[::2] for argument in arguments)
    try:
        if settings.keys() <= {"table", "price_per_device_hour"} and settings.get("table"):
            _tabulate(Path(settings["table"]), _price(settings.get("price_per_device_hour")))
        elif settings.keys() == {"compare"}:
            _compare(settings["compare"])
        else:
            raise ValueError(_USAGE)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _tabulate(folder: Path, price: float | None) -> None:
    from diptych.sweeping.plot import write_plot  # here: a comparison needs no plots, and a table no torch
    from diptych.sweeping.table import FILE, write_table

    picture = write_plot(folder, write_table(folder, price))
    sys.stdout.write(f"  {folder / FILE}\n  {picture or 'no plot: no run has a value of its primary metric'}\n")


def _compare(text: str) -> None:
    from diptych.sweeping.comparison import compare_runs, print_comparison

    names = [name.strip() for name in text.removeprefix("[").removesuffix("]").split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(f"compare={text}: two folders are compared\n{_USAGE}")
    print_comparison(*compare_runs(Path(names[0]), Path(names[1])))


def _price(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 < price < math.inf:
        raise ValueError(f"price_per_device_hour={text}: expected a price above 0, such as 2.5")
    return price


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
