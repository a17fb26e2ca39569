"""The organisation itself, with what it gives to new keys and the most that it lets keys have."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime

from shared import money
from shared.models import Organization, limits_of
from shared.organization_limits import OrganizationLimits
from webapp.context import now
from webapp.db import db
from webapp.schemas.key_rules import KeyRules
from webapp.views.spend import SpendView, spend_together


@dataclass(frozen=True, slots=True)
class OrganizationView:
    """An organisation as its members see it. Money is decimal strings; None is no limit, no default, or no maximum."""

    id: str
    name: str
    created_at: datetime
    time_zone: str  # in which periods begin
    default_spend_limit_usd: str | None
    default_spend_reset: str
    default_expiry_days: int | None
    default_rate_limit_rpm: int | None
    default_rate_limit_tpm: int | None
    max_spend_limit_usd: str | None
    max_expiry_days: int | None
    max_rate_limit_rpm: int | None
    max_rate_limit_tpm: int | None
    spend_limit_required: bool
    spend_limit_usd: str | None  # of all its keys together, as the next two
    spend_reset: str
    rate_limit_rpm: int | None


@dataclass(frozen=True, slots=True)
class OrganizationStanding(OrganizationView):
    """The same, and what all its keys have spent."""

    spend: SpendView


def standing_of(org_id: str) -> OrganizationStanding:
    row = db.session.get_one(Organization, org_id, populate_existing=True)
    return OrganizationStanding(**asdict(view_of(row)), spend=spend_together(row, now()))


def limits_together(org_id: str) -> OrganizationLimits | None:
    """What all keys of an organisation may use together; None: no limit."""
    row = db.session.get_one(Organization, org_id, populate_existing=True)
    return limits_of(row.rate_limit_rpm, row.spend_limit_nanos, row.spend_reset)


def limited_standing(org_id: str) -> OrganizationStanding | None:
    """What all keys may use together and have; None, and nothing is added up, where they have no limit."""
    return None if limits_together(org_id) is None else standing_of(org_id)


def organization_of(org_id: str) -> OrganizationView:
    return view_of(db.session.get_one(Organization, org_id, populate_existing=True))


def rules_of(org_id: str) -> KeyRules:
    """What holds for the keys of an organisation at this moment."""
    return rules_in(db.session.get_one(Organization, org_id, populate_existing=True))


def rules_in(row: Organization) -> KeyRules:
    return KeyRules(**{field.name: getattr(row, field.name) for field in fields(KeyRules)})


def view_of(row: Organization) -> OrganizationView:
    return OrganizationView(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        time_zone=row.time_zone,
        default_spend_limit_usd=_dollars(row.default_spend_limit_nanos),
        default_spend_reset=row.default_spend_reset,
        default_expiry_days=row.default_expiry_days,
        default_rate_limit_rpm=row.default_rate_limit_rpm,
        default_rate_limit_tpm=row.default_rate_limit_tpm,
        max_spend_limit_usd=_dollars(row.max_spend_limit_nanos),
        max_expiry_days=row.max_expiry_days,
        max_rate_limit_rpm=row.max_rate_limit_rpm,
        max_rate_limit_tpm=row.max_rate_limit_tpm,
        spend_limit_required=row.spend_limit_required,
        spend_limit_usd=_dollars(row.spend_limit_nanos),
        spend_reset=row.spend_reset,
        rate_limit_rpm=row.rate_limit_rpm,
    )


def _dollars(nanos: int | None) -> str | None:
    return None if nanos is None else money.to_usd(nanos)
