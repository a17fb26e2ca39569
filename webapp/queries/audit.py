"""Who changed what, when, from where."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import literal, select, tuple_

from shared.models import AuditEvent
from webapp.db import db
from webapp.schemas.audit import AuditQuery
from webapp.schemas.lists import cursor_of


@dataclass(frozen=True, slots=True)
class AuditView:
    """An event as people read it."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    ip: str | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of events, the newest first."""

    events: tuple[AuditView, ...]
    has_more: bool
    next_cursor: str | None


def list_audit(org_id: str, asked: AuditQuery) -> AuditPage:
    """A page of the organisation's events."""
    query = select(AuditEvent).where(AuditEvent.org_id == org_id)
    if asked.actor is not None:
        query = query.where(AuditEvent.actor == asked.actor)
    if asked.action is not None:
        begins = asked.action.endswith(".")
        query = query.where(
            AuditEvent.action.startswith(asked.action, autoescape=True) if begins else AuditEvent.action == asked.action
        )
    if asked.target is not None:
        query = query.where(AuditEvent.target == asked.target)
    if asked.since is not None:
        query = query.where(AuditEvent.at >= asked.since)
    if asked.until is not None:
        query = query.where(AuditEvent.at < asked.until)
    if (place := asked.place()) is not None:
        at, event_id = literal(place[0], AuditEvent.at.type), literal(place[1])
        query = query.where(tuple_(AuditEvent.at, AuditEvent.id) < tuple_(at, event_id))
    rows = db.session.scalars(query.order_by(AuditEvent.at.desc(), AuditEvent.id.desc()).limit(asked.limit + 1)).all()
    has_more, rows = len(rows) > asked.limit, rows[: asked.limit]
    views = tuple(
        AuditView(row.id, row.at, row.actor, row.action, row.target, row.before, row.after, row.ip) for row in rows
    )
    return AuditPage(views, has_more, cursor_of(rows[-1].at, rows[-1].id) if has_more else None)
