"""What every read and write of the dashboard stands on: who acts, the app's clock and counters, and two refusals."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app

from shared.counters import Counters


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member of staff with a role, a management token with scopes, or the system itself."""

    org_id: str
    name: str  # an email, a token's id, or "system"
    ip: str | None
    role: str | None = None
    scopes: frozenset[str] = frozenset()


class NotFound(Exception):
    """There is no such thing in the actor's organisation."""


class Conflict(Exception):
    """The thing is not in the state the change needs; `current` is its view as it stands, if there is one."""

    def __init__(self, code: str, message: str, current: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.current = current


def now() -> datetime:
    """This moment in UTC, by the app's clock."""
    clock: Callable[[], datetime] = current_app.extensions["clock"]
    return clock()


def counters() -> Counters:
    found: Counters = current_app.extensions["counters"]
    return found
