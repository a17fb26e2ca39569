"""Invitations, without the secret of their links."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.models import Invitation
from webapp.context import NotFound
from webapp.db import db


@dataclass(frozen=True, slots=True)
class InvitationView:
    """Somebody who was invited and has not come yet."""

    id: str
    org_id: str
    email: str
    role: str
    created_at: datetime
    created_by: str
    expires_at: datetime


def row_of(org_id: str, invitation_id: str) -> Invitation:
    """The locked row, for actions. Raises NotFound, for another organisation's as well."""
    query = select(Invitation).where(Invitation.id == invitation_id, Invitation.org_id == org_id)
    row = db.session.scalar(query.with_for_update())
    if row is None:
        raise NotFound
    return row


def secret_digest(secret: str) -> str:
    """What is stored of a link's secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def view_of(row: Invitation) -> InvitationView:
    return InvitationView(row.id, row.org_id, row.email, row.role, row.created_at, row.created_by, row.expires_at)
