"""How long the tests of this folder go on: short ones for CI, long ones by `make test-faults`.

ROUTER_FAULTS says it: `long`, or a part of that such as `0.1`; short ones without it.
"""

import os
import random

_asked = os.environ.get("ROUTER_FAULTS", "0")
PART = 1.0 if _asked == "long" else float(_asked)
LONG = PART > 0
# Everything that is chosen by chance comes from here; say it to see the same choices again. All processes of a run share it.
SEED = int(os.environ["ROUTER_FAULTS_SEED"])


def size(short: int, long: int) -> int:
    """How many of something."""
    return max(short, round(long * PART))


def chance(of: str) -> random.Random:
    """A source of chance for one test; the same for the same seed."""
    return random.Random(f"{SEED} {of}")
