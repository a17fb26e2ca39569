"""The sandbox provider as a process: `python -m proxyd.sandbox`."""

import sys

from proxyd.sandbox.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
