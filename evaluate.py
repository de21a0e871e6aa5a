"""Scores a checkpoint or a prediction file: `python evaluate.py ckpt=PATH`; see README.md."""

from diptych.commands.evaluation import evaluate
from diptych.config.command_line import entry_point

if __name__ == "__main__":
    entry_point("evaluate", evaluate, open_section="data")
