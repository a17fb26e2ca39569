"""The calendar of an organisation: the zone in which its days begin, and which day it is there."""

from collections.abc import Iterable
from datetime import UTC, date, datetime

from sqlalchemy import select

from shared import periods, zones
from shared.models import Organization
from webapp.db import db

_FIRST = date(1, 1, 3)


def zone_of(org_id: str) -> str | None:
    """By its IANA name, as periods have it: None is UTC, also of an organisation that there is not."""
    return zones_of([org_id])[org_id]


def zones_of(org_ids: Iterable[str]) -> dict[str, str | None]:
    """The same of several, in one statement."""
    wanted = set(org_ids)
    stored = select(Organization.id, Organization.time_zone).where(Organization.id.in_(wanted))
    return dict.fromkeys(wanted) | {org_id: zones.of_stored(name) for org_id, name in db.session.execute(stored)}


def zone_name(org_id: str) -> str:
    """The same for people."""
    return zone_of(org_id) or zones.UTC_NAME


def today_of(org_id: str, at: datetime) -> date:
    """The day that a moment belongs to there."""
    return periods.day_of(at.timestamp(), zone_of(org_id))


def begins(day: date, zone: str | None) -> datetime:
    """The first moment of a day, in UTC."""
    # The very first days have none everywhere: UTC may still be in the year before them.
    return datetime.fromtimestamp(periods.begins_at(max(day, _FIRST), zone), UTC)


def begins_there(day: date, zone: str | None) -> datetime:
    """The same moment with the time of day that it has there, for people: midnight, nearly everywhere."""
    moment = begins(day, zone)
    return moment if zone is None else moment.astimezone(zones.load(zone))


def exact(moment: datetime) -> str:
    """24 Nov 2026, 14:05 UTC; or with the zone that it is told in."""
    return f"{moment.day} {moment:%b %Y, %H:%M} {zones.name_of(moment)}"


def days_words(zone: str | None) -> str:
    """Whose days they are, for people: `UTC days`, or `days of Europe/Berlin`."""
    return "UTC days" if zone is None else f"days of {zone}"
