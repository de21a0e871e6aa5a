"""The door to `python -m diptych.pipeline`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("pipeline", sys.argv[1:]))
