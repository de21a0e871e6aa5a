"""The door to `python -m diptych.export`."""

import sys

from diptych.commands.export import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
