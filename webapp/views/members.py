"""Members of staff, without what they log in with."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.models import User
from webapp.context import NotFound
from webapp.db import db


@dataclass(frozen=True, slots=True)
class MemberView:
    """A member of staff as others see it."""

    id: str
    email: str
    role: str
    active: bool
    created_at: datetime


def row_of(org_id: str, user_id: str, *, lock: bool = False) -> User:
    """The row, for actions. Raises NotFound, for another organisation's member as well."""
    query = select(User).where(User.id == user_id, User.org_id == org_id)
    row = db.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound
    return row


def view_of(row: User) -> MemberView:
    return MemberView(row.id, row.email, row.role, row.disabled_at is None, row.created_at)
