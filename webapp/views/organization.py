"""The organisation itself."""

from dataclasses import dataclass
from datetime import datetime

from shared.models import Organization
from webapp.db import db


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """An organisation as its members see it."""

    id: str
    name: str
    created_at: datetime


def organization_of(org_id: str) -> OrganizationView:
    row = db.session.get_one(Organization, org_id)
    return OrganizationView(row.id, row.name, row.created_at)
