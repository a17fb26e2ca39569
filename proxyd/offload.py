"""Running blocking work, such as a question to the database, in a native thread.

On the event loop it would stop every stream. In tests an `Offload` is a plain call.
"""

from collections.abc import Callable
from typing import Any

Offload = Callable[..., Any]


def call_with(offload: Offload) -> Offload:
    """`offload(function, *arguments)` on top of gevent's `apply(function, arguments)`.

    An error comes back as a value and is raised here. gevent would print it before it wakes whoever waits, and when
    it cannot print, because standard error goes to a disk that is full, nobody is ever woken.
    """

    def call(function: Callable[..., Any], *arguments: Any) -> Any:
        result, error = offload(_outcome, (function, arguments))
        if error is not None:
            raise error
        return result

    return call


def _outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:  # noqa: BLE001 - carried over to the greenlet that waits, and raised there
        return None, error
