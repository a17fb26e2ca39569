"""Members of staff of an organisation."""

from sqlalchemy import select

from shared.models import User
from webapp.context import NotFound
from webapp.db import db
from webapp.views.tokens import chain_of
from webapp.views.users import UserView, view_of


def list_users(org_id: str) -> tuple[UserView, ...]:
    """All of them, by email; deactivated ones stay in the list."""
    return tuple(
        view_of(row) for row in db.session.scalars(select(User).where(User.org_id == org_id).order_by(User.email))
    )


def get_user(org_id: str, user_id: str) -> UserView:
    """One of them. Raises NotFound."""
    row = db.session.scalar(select(User).where(User.org_id == org_id, User.id == user_id))
    if row is None:
        raise NotFound
    return view_of(row)


def administrators(org_id: str, most: int) -> tuple[str, ...]:
    """The emails of at most so many administrators who can log in."""
    query = select(User.email).where(User.org_id == org_id, User.role == "admin", User.disabled_at.is_(None))
    return tuple(db.session.scalars(query.order_by(User.email).limit(most)))


def ending_tokens_of(org_id: str, email: str, role: str | None = None) -> tuple[str, ...]:
    """The names of management tokens that end when somebody gets this role; None: when they are deactivated."""
    return tuple(token.name for token in chain_of(org_id, email, role).ending)
