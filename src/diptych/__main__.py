"""`python -m diptych`: the command `diptych`."""

import sys

from diptych.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
