"""Change the organisation itself."""

from collections.abc import Mapping

from sqlalchemy import select

from shared.models import Organization
from webapp.actions import audit
from webapp.context import Actor
from webapp.db import writing
from webapp.schemas.organization import OrganizationPatch
from webapp.validation import read
from webapp.views.organization import OrganizationView, organization_of


def update_organization(actor: Actor, document: Mapping[str, object]) -> OrganizationView:
    """Rename it. Raises Invalid."""
    patch = read(OrganizationPatch, document)
    with writing() as session:
        row = session.scalars(select(Organization).where(Organization.id == actor.org_id).with_for_update()).one()
        if "name" in patch.model_fields_set and patch.name != row.name:
            before, row.name = row.name, patch.name
            audit(session, actor, "organization.update", row.id, before={"name": before}, after={"name": row.name})
    return organization_of(actor.org_id)
