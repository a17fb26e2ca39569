"""Management tokens, without their secrets; and which of them end with what their maker may do."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.models import ADMIN_SCOPE, ManagementToken
from webapp.context import NotFound
from webapp.db import db


@dataclass(frozen=True, slots=True)
class TokenView:
    """A management token as people see it."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None


# What the tokens of somebody with a role may not allow, because they themselves may not do it.
_BEYOND: dict[str, frozenset[str]] = {
    "viewer": frozenset((ADMIN_SCOPE, "keys:write")),
    "member": frozenset((ADMIN_SCOPE,)),
    "admin": frozenset(),
}


@dataclass(frozen=True, slots=True)
class Chain:
    """What somebody made, and what was made with it. `makers` are all of them, by the names that events have."""

    makers: tuple[str, ...]
    ending: tuple[ManagementToken, ...]


def row_of(org_id: str, token_id: str, *, lock: bool = False) -> ManagementToken:
    """The row, for actions. Raises NotFound, for another organisation's token as well."""
    query = select(ManagementToken).where(ManagementToken.id == token_id, ManagementToken.org_id == org_id)
    row = db.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound
    return row


def view_of(row: ManagementToken) -> TokenView:
    """The view of one row."""
    return TokenView(
        id=row.id,
        name=row.name,
        prefix=row.prefix,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        expires_at=row.expires_at,
    )


def chain_of(org_id: str, email: str, role: str | None = None, *, lock: bool = False) -> Chain:
    """The tokens that end when somebody may only do what `role` may from now on; None: nothing any more.

    Tokens that were made with a token are its maker's as well, also when that one has been revoked since.
    """
    made: dict[str, ManagementToken] = {}
    makers = [email]
    while makers:
        query = select(ManagementToken).where(ManagementToken.org_id == org_id, ManagementToken.created_by.in_(makers))
        query = query.order_by(ManagementToken.id)
        rows = db.session.scalars(query.with_for_update() if lock else query).all()
        fresh = {row.id: row for row in rows if row.id not in made}
        made |= fresh
        makers = list(fresh)
    live = [row for row in made.values() if row.revoked_at is None]
    return Chain((email, *made), tuple(row for row in live if role is None or not _BEYOND[role].isdisjoint(row.scopes)))
