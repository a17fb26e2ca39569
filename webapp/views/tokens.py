"""Management tokens, without their secrets."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.models import ManagementToken
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
