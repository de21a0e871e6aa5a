"""Writes what stands behind a set of triplets, with what it cost by the configuration's prices.

python -m diptych.commands.data_card my_triplets
"""

from __future__ import annotations

import sys

from diptych.commands.entries import report
from diptych.config.arguments import run

if __name__ == "__main__":
    sys.exit(run(report, "python -m diptych.commands.data_card", sys.argv[1:]))
