"""Requests, or tokens, by steady second: how many weigh now, whether more fit, when they will. No I/O."""

WINDOW_SECONDS = 60


class Window:
    """Requests by steady second. One that the last `seconds` only partly cover counts whole.

    So no span of `seconds`, wherever it begins, holds more than is admitted by it, and what it refuses a window of one
    second more would refuse as well. A second later than now (another boot's, before rows are told) counts as now.
    """

    __slots__ = ("_weighed_at", "buckets", "changes", "total")

    def __init__(self, buckets: dict[int, int]) -> None:
        self.buckets = buckets  # in order of time; changed by methods only
        # How often another bucket than the last one was changed, save that a new one came behind it, or that some weigh
        # no more.
        self.changes = 0
        self.total = sum(buckets.values())
        self._weighed_at = -1  # the second of the last `count`, if nothing but that second's has changed since

    @property
    def last(self) -> tuple[int, int]:
        """The last bucket; zeros when there is none."""
        if not self.buckets:
            return 0, 0
        second = next(reversed(self.buckets))
        return second, self.buckets[second]

    def count(self, second: int, seconds: int = WINDOW_SECONDS) -> int:
        """Requests that weigh at a second; forgets the older ones."""
        if second == self._weighed_at and seconds == WINDOW_SECONDS:
            return self.total
        buckets = self.buckets
        if buckets:
            oldest = second - seconds
            first, last = next(iter(buckets)), next(reversed(buckets))
            if first < oldest or last > second:
                late = sum(count for at, count in buckets.items() if at > second)
                buckets = {at: count for at, count in buckets.items() if oldest <= at <= second}
                if late:
                    buckets[second] = buckets.get(second, 0) + late
                    self.changes += 1
                self._replace(buckets)
        self._weighed_at = second if seconds == WINDOW_SECONDS else -1
        return self.total

    def acquire(self, second: int, limit: int, seconds: int = WINDOW_SECONDS, amount: int = 1) -> bool:
        """Count `amount` requests if that many fit."""
        if self.count(second, seconds) + amount > limit:
            return False
        self.buckets[second] = self.buckets.get(second, 0) + amount
        self.total += amount
        return True

    def set_last(self, requests: int) -> None:
        """There are so many in the last bucket now."""
        second, before = self.last
        self.buckets[second] = requests
        self.total += requests - before

    def add(self, second: int, amount: int) -> None:
        """Count what was admitted elsewhere, at a second that may be past. Less than nothing takes back what is there.

        A refused request consumes nothing: one that was admitted and never begun is uncounted so.
        """
        buckets = self.buckets
        count = buckets.get(second, 0) + amount
        last = next(reversed(buckets)) if buckets else -1
        if second == last and count > 0:
            buckets[second] = count
            self.total += amount
            return
        in_order = second >= last
        if count > 0:
            buckets[second] = count
        else:
            buckets.pop(second, None)
        self.changes += 1
        self._replace(buckets if in_order else dict(sorted(buckets.items())))

    def wait(self, steady: float, limit: int, seconds: int = WINDOW_SECONDS, amount: int = 1) -> float:
        """Seconds until so many more fit, if none is sent meanwhile; `count` was asked before."""
        left = self.total
        for at, count in self.buckets.items():
            left -= count
            if left + amount <= limit:
                return at + seconds + 1 - steady
        return 0.0

    def empty_in(self, steady: float, seconds: int = WINDOW_SECONDS) -> float:
        """Seconds until nothing weighs any more."""
        return max(0.0, next(reversed(self.buckets)) + seconds + 1 - steady) if self.buckets else 0.0

    def _replace(self, buckets: dict[int, int]) -> None:
        self.buckets = buckets
        self.total = sum(buckets.values())
        self._weighed_at = -1
