"""`python -m webapp`: the whole router on this machine, as `make run` starts it."""

import os
import sys

from webapp.launch import main

if __name__ == "__main__":
    sys.exit(main(os.environ))
