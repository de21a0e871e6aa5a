"""Trains an experiment: `python train.py experiment=cir_rooms`; see README.md."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("train", sys.argv[1:]))
