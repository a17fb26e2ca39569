"""Change the organisation itself: its name, what all its keys may use together, what keys get and may have."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from shared.models import Organization, limits_of
from shared.organization_limits import OrganizationLimits
from webapp.actions import audit, policy
from webapp.context import Actor
from webapp.db import writing
from webapp.schemas.organization import OrganizationPatch
from webapp.validation import read
from webapp.views.organization import OrganizationView, organization_of, rules_in, view_of

# What proxies go by.
_JUDGED = ("spend_limit_usd", "spend_reset", "rate_limit_rpm", "time_zone")


def update_organization(
    actor: Actor, document: Mapping[str, object], *, served: Mapping[str, Any] | None = None
) -> OrganizationView:
    """Merge a patch into it, of which it is told as `served`; keys that are there stay as they are. Raises Invalid.

    A default above its maximum is a fault. Of defaults and maxima proxies learn nothing: they judge keys by what the
    keys themselves say. What all keys may use together, and the time zone, hold for the next request. Counters that
    were made while there was no such limit know too little to judge by it, so a first one asks for new ones.
    """
    with writing() as session:
        row = session.scalars(select(Organization).where(Organization.id == actor.org_id).with_for_update()).one()
        patch = read(OrganizationPatch, document, served=served, rules=rules_in(row))
        before, limits_before, zone_before = asdict(view_of(row)), _limits_in(row), row.time_zone
        for column, value in patch.columns().items():
            setattr(row, column, value)
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
        limits_after = _limits_in(row)
        if (limits_after, row.time_zone) != (limits_before, zone_before):
            policy.shared_changed(session, row.id)
        if limits_before is None and limits_after is not None:
            policy.outdate_counters(session, row.id)
    # Also after a patch that changed nothing: it may be the second try of one that could not be told.
    if any(name in patch.model_fields_set for name in _JUDGED):
        policy.publish([actor.org_id])
    return organization_of(actor.org_id)


def _limits_in(row: Organization) -> OrganizationLimits | None:
    return limits_of(row.rate_limit_rpm, row.spend_limit_nanos, row.spend_reset)
