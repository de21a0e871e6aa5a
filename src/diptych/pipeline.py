"""The door to `python -m diptych.pipeline`."""

from diptych.commands.pipeline import run_pipeline
from diptych.config.command_line import entry_point

if __name__ == "__main__":
    entry_point("pipeline", run_pipeline)
