"""The door to `python -m diptych.sweep`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("sweep", sys.argv[1:]))
