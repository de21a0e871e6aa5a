"""The door to `python -m diptych.doctor`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("doctor", sys.argv[1:]))
