"""Trains an experiment: `python train.py experiment=cir_rooms`; see README.md."""

from diptych.commands.training import train
from diptych.config.command_line import entry_point
from diptych.sweeping.resuming import of_resumed_sweep

if __name__ == "__main__":
    entry_point("train", train, rewrite=of_resumed_sweep)
