"""What a load balancer that asks /readyz has to be told before this pool ends, and for how long.

Who asks `/readyz` finds out that way that a pool is about to end, so it must be told while requests that it still sends
are still served. Whom nobody asks has nobody to tell: there an ended pool is found out by its refused connections.
"""

import mmap
import struct
import time
from collections.abc import Callable

LATELY_SECONDS = 15.0
# Three questions in a row at most three seconds apart, which is what it takes with the usual settings.
TELL_SECONDS = 10.0
_AT = struct.Struct("d")


class Readiness:
    """Of one pool. Made before the workers are forked: they share the memory in which it stands."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._asked_at = mmap.mmap(-1, _AT.size)
        _AT.pack_into(self._asked_at, 0, float("-inf"))
        self.ends = False  # of this worker: whether its pool ends

    def asked(self) -> dict[str, str]:
        """Somebody asks; answers with what keeps this pool from being ready, by itself."""
        _AT.pack_into(self._asked_at, 0, self._monotonic())
        return {"pool": "it ends"} if self.ends else {}

    def leave(self) -> float:
        """Say from now on that the pool ends; for how many seconds that has to be said."""
        self.ends = True
        (asked_at,) = _AT.unpack_from(self._asked_at)
        return TELL_SECONDS if self._monotonic() - asked_at < LATELY_SECONDS else 0.0
