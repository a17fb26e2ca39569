"""Answers that are read to their end although their client has left, because the provider bills them anyway.

At most MAX_DETACHED at once, each for at most DETACHED_SECONDS; what finds no place or comes to no end is charged at
what is known of it.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from gevent import get_hub

from proxyd.messages import UpstreamError
from proxyd.providers import Meter
from proxyd.upstream.pool import Call

DETACHED_SECONDS = 120.0
MAX_DETACHED = 64


class Attempt(Protocol):
    """What reading on needs of the attempt whose answer it reads."""

    call: Call
    meter: Meter | None

    def end(self, outcome: str) -> None:
        """Settle it."""

    def release(self) -> None:
        """Close the call, and tell `finished`."""


class DetachedStreams:
    """The answers of one worker that nobody waits for any more. `spawn` starts a greenlet."""

    def __init__(self, spawn: Callable[..., object]) -> None:
        self._spawn = spawn
        self._detached: dict[Call, Any] = {}  # calls whose client has left -> the timer that ends them

    def detach(self, call: Call) -> None:
        """Let a call go on whose client has left while somebody waits for its answer, or abort it if there is no room.

        It is aborted when its time is over. Tell `finished` when it has ended. May be called in the hub.
        """
        if not self._register(call):
            call.abort()

    def finished(self, call: Call) -> None:
        """Hear that a call has ended, whether its client had left or not."""
        timer = self._detached.pop(call, None)
        if timer is not None:
            timer.stop()
            timer.close()

    def start(self, attempt: Attempt, chunks: Iterator[bytes]) -> bool:
        """Read the rest of an answer in the background, then settle; False when there is no room."""
        if not self._register(attempt.call):
            return False
        self._spawn(_read_to_end, attempt, chunks)
        return True

    def _register(self, call: Call) -> bool:
        if call in self._detached:
            return True
        if len(self._detached) >= MAX_DETACHED:
            return False
        timer = get_hub().loop.timer(DETACHED_SECONDS)
        timer.start(call.abort)
        self._detached[call] = timer
        return True


def _read_to_end(attempt: Attempt, chunks: Iterator[bytes]) -> None:
    meter = attempt.meter
    try:
        for data in chunks:
            if meter is not None:
                meter.feed(data)
        if meter is not None:
            meter.end()
    except UpstreamError:
        pass  # what was read is charged
    finally:
        try:
            attempt.end("client_gone")
        finally:
            attempt.release()
