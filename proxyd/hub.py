"""What is done for several in one callback of the event loop."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from gevent import get_hub

T = TypeVar("T")


def call_each(act: Callable[[T], None], items: Iterable[T]) -> None:
    """Call `act` with each item, in order. Called in the hub.

    What one of them raises is the hub's to report and nothing to the others, whose turn comes in another callback.
    """
    rest = iter(items)
    try:
        for item in rest:
            act(item)
    except BaseException:
        get_hub().loop.run_callback(call_each, act, rest)
        raise
