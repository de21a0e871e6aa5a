"""The door to `python -m diptych.sweep`."""

import sys

from diptych.sweeping.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
