"""The deadlines of channels, looked at a few times a second."""

from collections.abc import Callable, Sequence
from time import monotonic

from gevent import get_hub

from proxyd.channel import Channel


class Watchdog:
    """Looks at the deadlines of channels, by a timer in the event loop.

    `channels` gives those to look at. A deadline is noticed at most `tick_seconds` late.
    """

    def __init__(self, channels: Callable[[], Sequence[Channel]], tick_seconds: float) -> None:
        self._channels = channels
        # Not counted as a reason to keep the loop running.
        self._timer = get_hub().loop.timer(tick_seconds, tick_seconds, ref=False)
        self._timer.start(self._look)

    def close(self) -> None:
        self._timer.stop()
        self._timer.close()

    def _look(self) -> None:
        now = monotonic()
        for channel in self._channels():
            if channel.deadline < now:
                channel.expire()


def tick_for(shortest_seconds: float) -> float:
    """Choose how often a watchdog looks, for the shortest of its deadlines."""
    return min(0.5, max(0.01, shortest_seconds / 5))
