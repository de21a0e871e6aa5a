"""The door to `python -m diptych.pairs`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("pairs", sys.argv[1:]))
