"""Who changed what, when, from where."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select

from shared.models import AuditEvent, ManagementToken, Organization, ProxyKey, User
from webapp.context import NotFound
from webapp.db import db
from webapp.queries.activity import find_keys
from webapp.queries.timeline import stretch
from webapp.schemas.audit import AuditQuery, Place
from webapp.schemas.lists import MAX_LIMIT, cursor_of

MOST_NAMES = 200


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
    """A page of events, the newest first. One that had looked through enough before it was full tells how far back."""

    events: tuple[AuditView, ...]
    has_more: bool
    next_cursor: str | None
    looked_back_to: datetime | None = None


def list_audit(org_id: str, asked: AuditQuery) -> AuditPage:
    """A page of the organisation's events."""
    return _page(org_id, asked, asked.place())


def walk_audit(org_id: str, asked: AuditQuery) -> Iterator[AuditView]:
    """All events that are asked for. No transaction is kept open while somebody takes their time with them."""
    behind = asked.place()
    whole = asked.model_copy(update={"limit": MAX_LIMIT})
    while True:
        found = _page(org_id, whole, behind)
        db.session.rollback()
        yield from found.events
        if found.next_cursor is None:
            return
        behind = asked.model_copy(update={"cursor": found.next_cursor}).place()


def get_event(org_id: str, event_id: str) -> AuditView:
    """One of them. Raises NotFound."""
    row = db.session.get(AuditEvent, event_id)
    if row is None or row.org_id != org_id:
        raise NotFound
    return _view(row)


def names_of(org_id: str, ids: Collection[str]) -> Mapping[str, str]:
    """What is called by these ids, as far as it is there: keys, members, tokens, the organisation."""
    found: dict[str, str] = {}
    for query in (
        select(ProxyKey.id, ProxyKey.name).where(ProxyKey.org_id == org_id, ProxyKey.id.in_(_tagged(ids, "key"))),
        select(User.id, User.email).where(User.org_id == org_id, User.id.in_(_tagged(ids, "usr"))),
        select(ManagementToken.id, ManagementToken.name).where(
            ManagementToken.org_id == org_id, ManagementToken.id.in_(_tagged(ids, "tok"))
        ),
        select(Organization.id, Organization.name).where(
            Organization.id == org_id, Organization.id.in_(_tagged(ids, "org"))
        ),
    ):
        found.update((row[0], row[1]) for row in db.session.execute(query))
    return found


def find_actor(org_id: str, text: str) -> str:
    """The actor that somebody means: a token by its name, if there is no other way to read it."""
    if "@" in text or text.startswith("tok_"):
        return text
    query = select(ManagementToken.id).where(ManagementToken.org_id == org_id, ManagementToken.name == text)
    return db.session.scalar(query.order_by(ManagementToken.id.desc()).limit(1)) or text


def find_target(org_id: str, text: str) -> str:
    """The id of the member or the token that is called so, or of the one key that is found by it; else the text."""
    if text.partition("_")[0] in ("key", "usr", "tok", "org", "cred", "price"):
        return text
    for query in (
        select(User.id).where(User.org_id == org_id, User.email == text.casefold()).order_by(User.id),
        select(ManagementToken.id)
        .where(ManagementToken.org_id == org_id, ManagementToken.name == text)
        .order_by(ManagementToken.id.desc()),
    ):
        if (found := db.session.scalar(query.limit(1))) is not None:
            return found
    keys = find_keys(org_id, text, 2)
    return keys[0].id if len(keys) == 1 else text


def known_actors(org_id: str) -> tuple[tuple[str, str], ...]:
    """Some who act here, each as events have it and as people say it: members, then tokens."""
    members = select(User.email).where(User.org_id == org_id).order_by(User.email).limit(MOST_NAMES)
    tokens = select(ManagementToken.id, ManagementToken.name).where(ManagementToken.org_id == org_id)
    newest = tokens.order_by(ManagementToken.id.desc()).limit(MOST_NAMES)
    people = [(email, email) for email in db.session.scalars(members)]
    return (*people, *((row[0], row[1]) for row in db.session.execute(newest)))


def _page(org_id: str, asked: AuditQuery, behind: Place | None) -> AuditPage:
    indexed, wanted = _conditions(org_id, asked)
    found = stretch(
        (AuditEvent.at, AuditEvent.id),
        indexed,
        wanted,
        since=asked.since,
        until=asked.until,
        behind=behind,
        limit=asked.limit,
    )
    cursor = None if found.place is None else cursor_of(*found.place)
    back_to = found.place[0] if found.place is not None and found.cut_short else None
    return AuditPage(tuple(_view(row) for row in found.rows), cursor is not None, cursor, back_to)


def _conditions(org_id: str, asked: AuditQuery) -> tuple[list[ColumnElement[bool]], list[ColumnElement[bool]]]:
    """What an index has, which is the organisation and one of the others, and the rest."""
    indexed: list[ColumnElement[bool]] = [AuditEvent.org_id == org_id]
    wanted: list[ColumnElement[bool]] = []
    action = None if asked.action is None or asked.action.endswith(".") else asked.action
    # In this order: of each there are fewer than of the next.
    for column, value in (
        (AuditEvent.target, asked.target),
        (AuditEvent.actor, asked.actor),
        (AuditEvent.action, action),
    ):
        if value is not None and len(indexed) == 1:
            indexed.append(column == value)
        elif value is not None:
            wanted.append(column.concat("") == value)  # no index has this, so that none but the first is gone by
    if asked.action is not None and action is None:
        wanted.append(AuditEvent.action.startswith(asked.action, autoescape=True))
    return indexed, wanted


def _tagged(ids: Collection[str], tag: str) -> set[str]:
    return {one for one in ids if one.startswith(f"{tag}_")}


def _view(row: AuditEvent) -> AuditView:
    return AuditView(row.id, row.at, row.actor, row.action, row.target, row.before, row.after, row.ip)
