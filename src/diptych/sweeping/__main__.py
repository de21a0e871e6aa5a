"""What came out of a sweep, or of any folder of runs: one table, one plot, and whether two runs really differ.

    python -m diptych.sweep table=DIR [price_per_device_hour=2.5]     DIR/sweep.csv, DIR/sweep.png, a table
    python -m diptych.sweep compare=[DIR/0,DIR/3]                     runs, or evaluations: [.../eval/A,.../eval/B]

It reads what runs leave and trains nothing: it can be called while a sweep is at work.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

from diptych.config.arguments import run


def sweep(
    *,
    table: Annotated[
        Path | None, "a folder of runs: writes sweep.csv and sweep.png there, and prints the table"
    ] = None,
    price_per_device_hour: Annotated[float | None, "with table: adds what each run cost"] = None,
    compare: Annotated[list[str] | None, "two runs or evaluations, as [DIR/0,DIR/3]: a paired bootstrap"] = None,
) -> None:
    """What came out of a sweep, or of any folder of runs: one table and one plot, or whether two runs really differ. It
    reads what runs leave, also while they are at work.
    """
    if (table is None) == (compare is None):
        raise ValueError("say either table=DIR, or compare=[DIR/0,DIR/3]")
    if price_per_device_hour is not None and not 0 < price_per_device_hour < math.inf:
        raise ValueError(f"price_per_device_hour={price_per_device_hour}: expected a price above 0, such as 2.5")
    if table is not None:
        _tabulate(table, price_per_device_hour)
        return
    if price_per_device_hour is not None:
        raise ValueError("price_per_device_hour goes with table=DIR")
    if compare is None or len(compare) != 2:
        raise ValueError(f"compare={compare}: two folders are compared, as compare=[DIR/0,DIR/3]")
    from diptych.sweeping.comparison import compare_runs, print_comparison

    print_comparison(*compare_runs(Path(compare[0]), Path(compare[1])))


def _tabulate(folder: Path, price: float | None) -> None:
    from diptych.sweeping.plot import write_plot  # here: a comparison needs no plots, and a table no torch
    from diptych.sweeping.table import FILE, write_table

    picture = write_plot(folder, write_table(folder, price))
    sys.stdout.write(f"  {folder / FILE}\n  {picture or 'no plot: no run has a value of its primary metric'}\n")


if __name__ == "__main__":
    sys.exit(run(sweep, "python -m diptych.sweep", sys.argv[1:]))
