"""`python -m macadamia.lab`, which is how `./mac` starts the command line."""

import sys

from macadamia.lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
