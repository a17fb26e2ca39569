"""Running blocking work, such as a question to the database, in a native thread.

On the event loop it would stop every stream. In tests an `Offload` is a plain call. Whoever waits does so for a bounded
time: a database that hangs keeps its threads, of which there are few, and everybody else is told at once.
"""

from collections.abc import Callable
from typing import Any

from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

Offload = Callable[..., Any]


class OffloadTimeout(Exception):
    """The work did not end in time; it goes on, and nobody waits for it."""


class Threads:
    """At most `count` threads, which nobody waits for longer than `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self._pool = ThreadPool(count)
        self._free = BoundedSemaphore(count)
        self._seconds = seconds

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of `function`, or what it raises. Raises OffloadTimeout."""
        if not self._free.acquire(timeout=self._seconds):
            raise OffloadTimeout("all threads are busy")
        # An error comes back as a value and is raised here: gevent would print it before it wakes whoever waits, and
        # where it cannot print, because standard error goes to a disk that is full, nobody is ever woken.
        running = self._pool.spawn(_outcome, function, arguments)
        running.rawlink(lambda _: self._free.release())
        running.wait(self._seconds)  # ... which leaves a time-out of the caller's own to the caller
        if not running.ready():
            raise OffloadTimeout(f"no answer within {self._seconds:g} s")
        outcome: Any = running.get()
        result, error = outcome
        if error is not None:
            raise error
        return result


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - carried over to the greenlet that waits, and raised there
        return None, error
