"""What people and automation may do: one verb a function, the same for pages and JSON.

Law of this package: each action writes its change and its audit event in one transaction and commits; if proxies judge
by what changed, it then moves the policy epoch, before it answers. It raises `Invalid`, `NotFound` or `Conflict`, and
then nothing was written. What it returns are frozen views; no row leaves it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy.orm import scoped_session

from shared.counters import Counters, CountersUnavailable
from shared.ids import new_id
from shared.models import AuditEvent
from webapp.validation import FieldError, Invalid

__all__ = [
    "Actor",
    "Conflict",
    "EpochNotMoved",
    "FieldError",
    "Invalid",
    "NotFound",
    "audit",
    "bump_policy_version",
    "counters",
    "now",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a member of staff with a role, a management token with scopes, or the system itself."""

    org_id: str
    name: str  # an email, a token's prefix, or "system"
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


class EpochNotMoved(Exception):
    """The change is saved, but the proxies could not be told; they learn of it when their cache ages out."""


def now() -> datetime:
    """This moment in UTC, by the app's clock."""
    clock: Callable[[], datetime] = current_app.extensions["clock"]
    return clock()


def counters() -> Counters:
    found: Counters = current_app.extensions["counters"]
    return found


def audit(
    session: scoped_session[Session],
    actor: Actor,
    action: str,
    target: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write down who did what to which, in the transaction of the change itself. Values hold no secrets."""
    session.add(
        AuditEvent(
            id=new_id("aud"),
            org_id=actor.org_id,
            at=now(),
            actor=actor.name,
            action=action,
            target=target,
            before=None if before is None else dict(before),
            after=None if after is None else dict(after),
            ip=actor.ip,
        )
    )


def bump_policy_version(org_id: str, *, must: bool = True) -> None:
    """Move the policy epoch, so that the change holds for the first request after our answer.

    Raises EpochNotMoved when the counters do not answer, unless nothing depends on it (`must=False`: no proxy can
    have cached what was made just now).
    """
    try:
        counters().bump_epoch(org_id)
    except CountersUnavailable as error:
        log.error("the policy epoch of %s was not moved: %s", org_id, error)
        if must:
            raise EpochNotMoved(
                "The change is saved, but the proxies could not be told at once. It takes effect within 5 seconds, "
                "or within 30 while the proxies cannot reach the database."
            ) from error
