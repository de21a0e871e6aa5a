"""Trains an experiment: `python train.py experiment=cir_rooms`; see README.md."""

from diptych.composition import entry_point
from diptych.training import train

if __name__ == "__main__":
    entry_point("train", train)
