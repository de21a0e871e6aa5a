"""Scores a checkpoint or a prediction file: `python evaluate.py ckpt=PATH`; see README.md."""

from diptych.composition import entry_point
from diptych.evaluation import evaluate

if __name__ == "__main__":
    entry_point("evaluate", evaluate, open_section="data")
