"""Answers that are read to their end although their client has left, because the provider bills them anyway.

At most MAX_DETACHED at once, each for at most DRAIN_SECONDS; what finds no place or comes to no end is charged at
what is known of it.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gevent import get_hub

from proxyd.messages import UpstreamError
from proxyd.providers import Meter
from proxyd.upstream.pool import Call

DRAIN_SECONDS = 120.0
MAX_DETACHED = 64


class Attempt(Protocol):
    """What a drain needs of the attempt whose answer it reads."""

    def close(self, outcome: str, meter: Meter | None) -> None:
        """Settle it."""


class DetachedStreams:
    """The drains of one worker. `spawn` starts a greenlet."""

    def __init__(self, spawn: Callable[..., object]) -> None:
        self._spawn = spawn
        self._outlived: dict[Call, Any] = {}  # calls whose client has left -> the timer that ends them

    def outlive(self, call: Call) -> None:
        """Let a call go on whose client has left while somebody waits for its answer, or abort it if there is no room.

        It is aborted when its time is over. Tell `over` when it has ended. May be called in the hub.
        """
        if not self._take_in(call):
            call.abort()

    def over(self, call: Call) -> None:
        """Hear that a call has ended, whether its client had left or not."""
        timer = self._outlived.pop(call, None)
        if timer is not None:
            timer.stop()
            timer.close()

    def start(self, call: Call, chunks: Iterator[bytes], attempt: Attempt, meter: Meter) -> bool:
        """Read the rest of an answer in the background, then settle; False when there is no room."""
        if not self._take_in(call):
            return False
        self._spawn(self._drain, call, chunks, attempt, meter)
        return True

    def _take_in(self, call: Call) -> bool:
        if call in self._outlived:
            return True
        if len(self._outlived) >= MAX_DETACHED:
            return False
        timer = get_hub().loop.timer(DRAIN_SECONDS)
        timer.start(call.abort)
        self._outlived[call] = timer
        return True

    def _drain(self, call: Call, chunks: Iterator[bytes], attempt: Attempt, meter: Meter) -> None:
        try:
            for data in chunks:
                meter.feed(data)
            meter.end()
        except UpstreamError:
            pass  # what was read is charged
        finally:
            self.over(call)
            try:
                attempt.close("client_gone", meter)
            finally:
                call.close()
