"""How much of large request bodies one worker holds at a time.

The law of this module: whoever wants to hold a body says how large it can get before it reads on, and waits for its
turn without reading, so that TCP holds back the client. A key that fills its share waits for itself, not for others.
"""

from collections import deque

from gevent.event import Event

MIB = 1024 * 1024


class Claim:
    """Room for one body. To be released when its bytes are gone; releasing it again does nothing."""

    __slots__ = ("_memory", "key_id", "size")

    def __init__(self, memory: "BodyMemory", key_id: str) -> None:
        self._memory = memory
        self.key_id = key_id
        self.size = 0

    def grow(self, size: int, timeout_seconds: float) -> bool:
        """Have room for `size` bytes in all; False when there was none in time. What it has, it keeps."""
        return self._memory.take(self, size - self.size, timeout_seconds)

    def release(self) -> None:
        self._memory.give_back(self)


class BodyMemory:
    """For one worker: `total_bytes` for all, `key_bytes` for one key, which must have room for the largest body."""

    def __init__(self, total_bytes: int = 192 * MIB, key_bytes: int = 32 * MIB) -> None:
        self._total_bytes = total_bytes
        self._key_bytes = key_bytes
        self._by_key: dict[str, int] = {}
        self._waiting: deque[tuple[Claim, int, Event]] = deque()  # whoever has waited longest comes first
        self.held_bytes = 0

    def claim(self, key_id: str) -> Claim:
        """An empty claim."""
        return Claim(self, key_id)

    def take(self, claim: Claim, more: int, timeout_seconds: float) -> bool:
        """Give a claim `more` bytes, after those that wait already."""
        if more <= 0:
            return True
        if not self._waiting and self._fits(claim, more):
            self._book(claim, more)
            return True
        granted = Event()
        place = (claim, more, granted)
        self._waiting.append(place)
        self._serve()
        try:
            return granted.wait(timeout_seconds) is True
        finally:
            if not granted.is_set():
                self._waiting.remove(place)
                self._serve()

    def give_back(self, claim: Claim) -> None:
        """Take back all that a claim has."""
        if claim.size:
            self._book(claim, -claim.size)
            self._serve()

    def _serve(self) -> None:
        """Grant what fits, in order. Whoever waits for its own key alone is passed by, else nobody is."""
        kept: deque[tuple[Claim, int, Event]] = deque()
        full = False
        while self._waiting:
            claim, more, granted = self._waiting.popleft()
            if not full and self._fits(claim, more):
                self._book(claim, more)
                granted.set()
                continue
            full = full or self._fits_key(claim, more)
            kept.append((claim, more, granted))
        self._waiting = kept

    def _fits(self, claim: Claim, more: int) -> bool:
        return self.held_bytes + more <= self._total_bytes and self._fits_key(claim, more)

    def _fits_key(self, claim: Claim, more: int) -> bool:
        return self._by_key.get(claim.key_id, 0) + more <= self._key_bytes

    def _book(self, claim: Claim, more: int) -> None:
        claim.size += more
        self.held_bytes += more
        left = self._by_key.get(claim.key_id, 0) + more
        if left:
            self._by_key[claim.key_id] = left
        else:
            del self._by_key[claim.key_id]
