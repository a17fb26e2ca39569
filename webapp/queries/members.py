"""The organisation's members of staff."""

from sqlalchemy import select

from shared.models import User
from webapp.db import db
from webapp.views.members import MemberView, row_of, view_of


def list_members(org_id: str) -> tuple[MemberView, ...]:
    """All of them, by email; those who may not log in any more stay in the list."""
    return tuple(
        view_of(row) for row in db.session.scalars(select(User).where(User.org_id == org_id).order_by(User.email))
    )


def get_member(org_id: str, user_id: str) -> MemberView:
    """One of them. Raises NotFound, for another organisation's member as well."""
    return view_of(row_of(org_id, user_id))
