"""What has happened in an organisation that people may want to be told of, as the database knows it. Reads only.

But for one thing: how many requests were refused is noted once a minute, because the database has only sums by day.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

from shared.models import (
    Alert,
    CredentialRefusal,
    OrganizationRefusals,
    ProviderCredential,
    ProxyKey,
    RefusalSample,
    UsageRecord,
)
from webapp.actions.alerts import Happened
from webapp.alerting.messages import WINDOW_MINUTES
from webapp.alerting.pages import Page, Place, rows_of
from webapp.db import db, writing
from webapp.schemas.alerts import CREDENTIAL, EXPIRING, REFUSALS, UNUSED
from webapp.schemas.values import to_json_moment
from webapp.views.alerts import RulesView

# How long a key is told of that was not noticed in time, and how long before it that is news.
_BACK = timedelta(days=7)
NOTHING = Page((), None)
_LOOKED_AT = 100  # requests of a provider that were forbidden
# As the index says it: SQLite knows its rows by these very words alone.
_REFUSED = text("usage_records.status IN (401, 403)")
_FORBIDDEN = 403
_LATE = timedelta(minutes=15)  # what happens in the last minutes of a day may be told only on the next one


def keys_unused(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """Live keys that were used last so many days ago, and not more than a week longer."""
    return _unused(org_id, rules.unused_days, at, since, behind, ProxyKey.last_used_at)


def keys_never_used(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """Likewise those that were made then, and have not been used since."""
    return _unused(org_id, rules.unused_days, at, since, behind, ProxyKey.created_at, ProxyKey.last_used_at.is_(None))


def _unused(
    org_id: str,
    days: int | None,
    at: datetime,
    since: datetime,
    behind: Place | None,
    moment: InstrumentedAttribute[Any],
    *wanted: ColumnElement[bool],
) -> Page:
    if days is None:
        return NOTHING
    # The walk's beginning moves back by the same length, so that its end does not run away from a long one.
    oldest = since - timedelta(days=days) - _BACK
    rows, behind = rows_of(
        _live(org_id, at, moment, moment <= at - timedelta(days=days), *wanted), moment, ProxyKey.id, oldest, behind
    )
    found = []
    for row in rows:
        last = row[0]
        facts = {
            **_key(row),
            "days": days,
            "created_at": to_json_moment(row.created_at),
            "last_used_at": to_json_moment(row.last_used_at),
        }
        until = last + timedelta(days=days) + _BACK
        found.append(Happened(UNUSED, row.id, f"{days} days from {to_json_moment(last)}", facts, until))
    return Page(found, behind)


def keys_expiring(org_id: str, rules: RulesView, at: datetime, since: datetime, behind: Place | None) -> Page:
    """Live keys that end within so many days; not those that were made for no longer."""
    if rules.expiring_days is None:
        return NOTHING
    length = timedelta(days=rules.expiring_days)
    moment = ProxyKey.expires_at
    rows, behind = rows_of(_live(org_id, at, moment, moment <= at + length), moment, ProxyKey.id, since, behind)
    found = []
    for row in rows:
        if row.expires_at - row.created_at > length:
            ends = to_json_moment(row.expires_at)
            facts = {**_key(row), "days": rules.expiring_days, "expires_at": ends}
            found.append(Happened(EXPIRING, row.id, f"{ends}", facts, row.expires_at))
    return Page(found, behind)


def _live(org_id: str, at: datetime, moment: InstrumentedAttribute[Any], *wanted: ColumnElement[bool]) -> Select[Any]:
    """Keys that could be used. One that is paused may be meant to rest, and one that has expired is told of before."""
    return select(
        moment.label("moment"),
        ProxyKey.id,
        ProxyKey.name,
        ProxyKey.prefix,
        ProxyKey.created_at,
        ProxyKey.last_used_at,
        ProxyKey.expires_at,
    ).where(
        ProxyKey.org_id == org_id,
        ProxyKey.revoked_at.is_(None),
        ProxyKey.paused.is_(False),
        ProxyKey.expires_at.is_(None) | (ProxyKey.expires_at > at),
        *wanted,
    )


class _Stored(NamedTuple):
    """A credential, and what of it is told."""

    label: str | None
    subject: str
    since: datetime
    refused_at: datetime | None
    status: int


def credentials_refused(org_id: str, at: datetime) -> Iterator[Happened]:
    """Credentials that their providers refused since they were stored, today; each once a day.

    A refusal is what workers took for one: not every 401 is about the credential. What was forbidden (403) is found
    among the requests; where a provider has several credentials, they tell with which of them they were sent.
    """
    table, told = ProviderCredential, CredentialRefusal
    query = (
        select(table.provider, table.label, table.id, table.created_at, told.at, told.status)
        .outerjoin(told, (told.credential_id == table.id) & (told.set_at == table.created_at))
        .where(table.org_id == org_id, table.enabled)
    )
    stored: dict[str, list[_Stored]] = {}
    for provider, label, id_, since, refused_at, status in db.session.execute(query):
        stored.setdefault(provider, []).append(_Stored(label, id_, since, refused_at, status or 0))
    begins = _midnight(at) - _LATE
    for provider, ones in stored.items():
        known: dict[str | None, _Stored] = {one.label: one for one in ones}
        # Who does not say with which one was sent when there was one: what was stored since has nothing to do with it.
        alone = max(ones, key=lambda one: one.since)._replace(label=None, subject=provider)
        known[None] = alone
        for one in ones:
            if one.refused_at is not None and one.refused_at >= begins:
                del known[one.label]
                shown = one if len(ones) > 1 else alone
                yield _refusal_of(provider, shown, one.refused_at, one.status, at)
        if len(ones) == 1 and ones[0].label not in known:
            continue
        for row in _forbidden_by(org_id, provider, min(one.since for one in ones), at):
            said = row.tried[-1]["label"] if row.tried else None
            if said in known and row.admitted_at >= known[said].since:
                yield _refusal_of(provider, known.pop(said), row.admitted_at, _FORBIDDEN, at)


def _refusal_of(provider: str, one: _Stored, last_at: datetime, status: int, at: datetime) -> Happened:
    facts = {"provider": provider, "label": one.label, "status": status, "last_at": to_json_moment(last_at)}
    period = f"{last_at.date()} since {to_json_moment(one.since)}"
    # Those of the last minutes of a day are looked at on the next one too.
    return Happened(CREDENTIAL, one.subject, period, facts, until=_midnight(at) + timedelta(days=2))


def _forbidden_by(org_id: str, provider: str, since: datetime, at: datetime) -> Sequence[Any]:
    """The last requests that a provider answered with 403, the newest first."""
    forbidden = (
        select(UsageRecord.admitted_at, UsageRecord.tried)
        .where(UsageRecord.org_id == org_id, _REFUSED, UsageRecord.status == _FORBIDDEN)
        .where(UsageRecord.admitted_at >= max(since, _midnight(at) - _LATE))
        .where(UsageRecord.provider == provider)
        .order_by(UsageRecord.admitted_at.desc())
        .limit(_LOOKED_AT)
    )
    return db.session.execute(forbidden).all()


def _midnight(at: datetime) -> datetime:
    return datetime(at.year, at.month, at.day, tzinfo=UTC)


def refusals_in_window(org_id: str, most: int, at: datetime) -> Iterator[Happened]:
    """Whether so many requests were refused within ten minutes; once an hour."""
    minute = at.replace(second=0, microsecond=0)
    # Days are those of the organisation's zone, which may be one behind UTC.
    _note_refusals(org_id, minute, at.date() - timedelta(days=1))
    # What was told of once is not counted again in the next hour.
    told = db.session.scalar(select(func.max(Alert.at)).where(Alert.org_id == org_id, Alert.event == REFUSALS))
    begins = minute - timedelta(minutes=WINDOW_MINUTES)
    oldest = select(RefusalSample).where(
        RefusalSample.org_id == org_id, RefusalSample.at >= (begins if told is None else max(begins, told))
    )
    sample = db.session.scalars(oldest.order_by(RefusalSample.at).limit(1)).first()
    if sample is None:
        return
    refused = _refused_since(org_id, sample.day) - sample.count
    if refused >= most:
        facts = {"refusals": refused, "minutes": WINDOW_MINUTES}
        yield Happened(REFUSALS, org_id, f"{at:%Y-%m-%dT%H}", facts, until=at + timedelta(hours=1))


def _refused_since(org_id: str, day: date) -> int:
    query = select(func.sum(OrganizationRefusals.count)).where(
        OrganizationRefusals.org_id == org_id, OrganizationRefusals.day >= day
    )
    return int(db.session.scalar(query) or 0)


def _note_refusals(org_id: str, minute: datetime, day: date) -> None:
    """As of the first look in a minute; which machine looks first does not matter."""
    known = select(RefusalSample.count).where(RefusalSample.org_id == org_id, RefusalSample.at == minute)
    if db.session.scalar(known) is not None:
        return
    with writing() as session:
        insert = (sqlite if db.engine.dialect.name == "sqlite" else postgresql).insert(RefusalSample)
        values = {"org_id": org_id, "at": minute, "day": day, "count": _refused_since(org_id, day)}
        session.execute(insert.values(values).on_conflict_do_nothing())


def _key(row: Any) -> dict[str, Any]:
    return {"key_id": row.id, "key_name": row.name, "key_prefix": row.prefix}
