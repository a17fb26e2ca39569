"""The organisation's management tokens."""

from sqlalchemy import select

from shared.models import ManagementToken
from webapp.db import db
from webapp.views.tokens import TokenView, view_of


def list_tokens(org_id: str) -> tuple[TokenView, ...]:
    """All tokens of the organisation, the newest first; revoked ones stay in the list."""
    query = select(ManagementToken).where(ManagementToken.org_id == org_id).order_by(ManagementToken.id.desc())
    return tuple(view_of(row) for row in db.session.scalars(query))
