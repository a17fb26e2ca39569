"""Change the organisation itself: its name, and what it gives to new keys and lets keys have."""

from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import select

from shared.models import Organization
from webapp.actions import audit
from webapp.context import Actor
from webapp.db import writing
from webapp.schemas.organization import OrganizationPatch
from webapp.validation import FieldError, Invalid, read
from webapp.views.organization import OrganizationView, organization_of, rules_in, view_of


def update_organization(actor: Actor, document: Mapping[str, object]) -> OrganizationView:
    """Merge a patch into it; keys that are there stay as they are. Raises Invalid.

    A default above its maximum is a fault. Proxies judge keys by what the keys themselves say: they learn nothing.
    """
    patch = read(OrganizationPatch, document)
    with writing() as session:
        row = session.scalars(select(Organization).where(Organization.id == actor.org_id).with_for_update()).one()
        before = asdict(view_of(row))
        for column, value in patch.columns().items():
            setattr(row, column, value)
        faults = [
            FieldError(usual if usual in patch.model_fields_set else most, f"cannot be: {words}")
            for usual, most, words in rules_in(row).contradictions()
        ]
        if faults:
            raise Invalid(*faults)
        after = asdict(view_of(row))
        changed = [name for name in after if before[name] != after[name]]
        if changed:
            audit(
                session,
                actor,
                "organization.update",
                row.id,
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )
    return organization_of(actor.org_id)
