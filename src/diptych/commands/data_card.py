"""Writes what stands behind a set of triplets, with what it cost by the configuration's prices.

python -m diptych.commands.data_card my_triplets
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from diptych.annotation.cost import Prices
from diptych.config.folder import CONFIG_FOLDER
from diptych.report.data_card import write_data_card


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the data card of a set that annotate_triplets made.")
    parser.add_argument("out", type=Path, help="the folder of the set")
    parser.add_argument("--prices", type=Path, default=CONFIG_FOLDER / "prices.yaml", help="table of prices")
    options = parser.parse_args(arguments)
    try:
        prices = Prices(yaml.safe_load(options.prices.read_text(encoding="utf-8"))["models"])
        print(write_data_card(options.out, prices))  # noqa: T201
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
