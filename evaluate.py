"""Scores a checkpoint or a prediction file: `python evaluate.py ckpt=PATH`; see README.md."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("evaluate", sys.argv[1:]))
