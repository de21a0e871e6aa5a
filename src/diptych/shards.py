"""The door to `python -m diptych.shards`."""

import sys

from diptych.commands.main import run

if __name__ == "__main__":
    sys.exit(run("shards", sys.argv[1:]))
