"""The door to `python -m diptych.shards`."""

import sys

from diptych.commands.shards import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
