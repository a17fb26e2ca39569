"""How long the tests of this folder go on: short ones for CI, long ones by `make test-faults`."""

import os
import random

LONG = os.environ.get("ROUTER_FAULTS") == "long"
# Everything that is chosen by chance comes from here; say it to see the same choices again.
SEED = int(os.environ.get("ROUTER_FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))


def size(short: int, long: int) -> int:
    """How many of something."""
    return long if LONG else short


def chance(of: str) -> random.Random:
    """A source of chance for one test; the same for the same seed."""
    return random.Random(f"{SEED} {of}")
