"""What people and automation may do: one verb a function, the same for pages and JSON.

Law of this package: each action writes its change and its audit event in one transaction and commits; if proxies judge
by what changed, it says so in the same transaction (`policy.changed`) and tells them before it answers
(`policy.publish`). It raises `Invalid`, `NotFound` or `Conflict`, and then nothing was written. What it returns are
frozen views; no row leaves it.
"""

from collections.abc import Mapping
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.models import AuditEvent
from webapp.context import Actor, now


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
