"""Who was invited, and what a link opens."""

from sqlalchemy import select

from shared.models import Invitation
from webapp.context import now
from webapp.db import db
from webapp.views.invitations import InvitationView, secret_digest, view_of


def list_invitations(org_id: str) -> tuple[InvitationView, ...]:
    """Those that can still be accepted, by email."""
    query = select(Invitation).where(Invitation.org_id == org_id, Invitation.expires_at > now())
    return tuple(view_of(row) for row in db.session.scalars(query.order_by(Invitation.email)))


def find_invitation(secret: str) -> InvitationView | None:
    """The invitation that a link opens; None when it was accepted or withdrawn, has expired, or never was."""
    is_this_one = Invitation.digest == secret_digest(secret)
    row = db.session.scalar(select(Invitation).where(is_this_one, Invitation.expires_at > now()))
    return None if row is None else view_of(row)
