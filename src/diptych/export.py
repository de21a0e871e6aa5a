"""The door to `python -m diptych.export`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("export", sys.argv[1:]))
