"""The door to `python -m diptych.doctor`."""

import sys

from diptych.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
