"""Work that would hold up everybody else, done in another thread where all requests of a process share one.

gunicorn's workers (`webapp/serving.py`) serve hundreds of connections in one thread, and say here where such work goes.
In commands, in tests and on any other server nobody says so, and it is done where it is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


class TookTooLong(Exception):
    """What somebody else was asked was not answered in time."""


class TooBusy(Exception):
    """So much of this work waits already that more of it would only make everybody wait."""


class Runner(Protocol):
    """Runs a function and answers with its result; may raise TooBusy."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


def _here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


@dataclass(slots=True)
class Offload:
    """Who runs what: statements of SQLite, which wait for locks and disks, hashes of passwords, which take long.

    And calls to providers of models, and to the one through which people log in; those may never end, and may raise
    TookTooLong.
    """

    statements: Runner = _here
    hashes: Runner = _here
    calls: Runner = _here
    sign_ins: Runner = _here


OFFLOAD = Offload()
