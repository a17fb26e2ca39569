"""What has happened in an organisation that people may want to be told of, as the database knows it. Reads only.

But for one thing: how many requests were refused is noted once a minute, because the database has only sums by day.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from shared import money, periods
from shared.models import (
    Alert,
    KeyAlertRules,
    KeySpend,
    OrganizationRefusals,
    ProviderCredential,
    ProxyKey,
    Refusal,
    RefusalSample,
    UsageRecord,
)
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.alerting.messages import WINDOW_MINUTES
from webapp.db import db, writing
from webapp.queries.key_filters import limit_at
from webapp.schemas.alerts import CREDENTIAL, EXPIRING, REFUSALS, SPEND, UNUSED
from webapp.schemas.values import to_json_moment
from webapp.views.alerts import RulesView

# From here on a key that was refused for its limit is said to have reached it: what is left fits no request of its.
FULL_PERCENT = 95
# How long a key is told of that was not noticed in time, and how long before it that is news.
_BACK = timedelta(days=7)
_FEW = 500
_LOOKED_AT = 100  # requests of a provider that were refused; who rests is tried every few minutes
# As the index says it: SQLite knows its rows by these very words alone.
_REFUSED = text("usage_records.status IN (401, 403)")


def spend_reached(org_id: str, rules: RulesView, at: datetime, *, used_since: datetime) -> Iterator[Happened]:
    """Thresholds that keys have reached which were used since a moment."""
    own = _own_thresholds(org_id)
    lowest = min([*rules.spend_thresholds, *(one for some in own.values() for one in some)], default=None)
    if lowest is None:
        return
    for reset in periods.RESETS:
        start, end = periods.period_of(reset, at.timestamp())
        rows = _spent(org_id, reset, start, lowest, at, used_since)
        full = _refused_for_limit(org_id, [row.id for row in rows if _is_nearly_full(row)], start)
        for row in rows:
            percent = int(row.spent) * 100 // row.limit_nanos
            reached = 100 if row.id in full else percent
            for threshold in own.get(row.id, rules.spend_thresholds):
                if reached >= threshold:
                    yield _spend(row, threshold, percent, start, end)


def _spent(org_id: str, reset: str, start: date, lowest: int, at: datetime, used_since: datetime) -> Sequence[Any]:
    """Keys with a limit of this period that have used the lowest threshold of it, or more."""
    spent, limit = func.sum(KeySpend.total_nanos), limit_at(at)
    # Who is refused for it is not used: so a refusal is news as well.
    lately = select(Refusal.key_id).where(
        Refusal.org_id == org_id, Refusal.reason == Reason.SPEND_EXCEEDED.value, Refusal.last_at >= used_since
    )
    # What never resets is summed up in a row of its own.
    of_period = KeySpend.day == start if reset == "never" else KeySpend.day >= start
    near = (
        select(ProxyKey.id, ProxyKey.name, ProxyKey.prefix, limit.label("limit_nanos"), spent.label("spent"))
        .join(KeySpend, KeySpend.key_id == ProxyKey.id)
        .where(ProxyKey.org_id == org_id, ProxyKey.revoked_at.is_(None), ProxyKey.paused.is_(False))
        .where(ProxyKey.spend_reset == reset, limit > 0, of_period)
        .group_by(ProxyKey.id)
        .having(spent * 100 >= limit * lowest)
    )
    # Each has an index of its own, which neither database would use for both at once.
    found = {row.id: row for row in db.session.execute(near.where(ProxyKey.last_used_at >= used_since))}
    found |= {row.id: row for row in db.session.execute(near.where(ProxyKey.id.in_(lately)))}
    return list(found.values())


def _is_nearly_full(row: Any) -> bool:
    return bool(row.limit_nanos * FULL_PERCENT <= int(row.spent) * 100 < row.limit_nanos * 100)


def _refused_for_limit(org_id: str, key_ids: Sequence[str], start: date) -> set[str]:
    """Which of these keys were refused for their limit in this period."""
    since = datetime.fromtimestamp(periods.unix(start), UTC)
    found: set[str] = set()
    for first in range(0, len(key_ids), _FEW):
        query = select(Refusal.key_id).where(
            Refusal.key_id.in_(key_ids[first : first + _FEW]),
            Refusal.reason == Reason.SPEND_EXCEEDED.value,
            Refusal.org_id == org_id,
            Refusal.last_at >= since,
        )
        found.update(db.session.scalars(query))
    return found


def _spend(row: Any, threshold: int, percent: int, start: date, end: date | None) -> Happened:
    # A limit that never resets has one period a size, so that whoever raises it is told again.
    period = f"{threshold} % since {start}" if end is not None else f"{threshold} % of {row.limit_nanos}"
    return Happened(
        SPEND,
        row.id,
        period,
        {
            **_key(row),
            "threshold_percent": threshold,
            "spent_percent": percent,
            "spent_usd": money.to_usd(int(row.spent)),
            "spend_limit_usd": money.to_usd(row.limit_nanos),
            "period_start": None if end is None else _midnight(start),
            "resets_at": None if end is None else _midnight(end),
        },
    )


def _own_thresholds(org_id: str) -> Mapping[str, Sequence[int]]:
    query = select(KeyAlertRules).where(KeyAlertRules.org_id == org_id)
    return {row.key_id: row.spend_thresholds for row in db.session.scalars(query)}


def keys_unused(org_id: str, days: int, at: datetime) -> Iterator[Happened]:
    """Live keys that were used last, or made, so many days ago, and not more than a week longer."""
    until = at - timedelta(days=days)
    used = ProxyKey.last_used_at.between(until - _BACK, until)
    made = ProxyKey.created_at.between(until - _BACK, until)
    for wanted in (used, made & ProxyKey.last_used_at.is_(None)):
        for row in _live(org_id, at, wanted):
            last = row.last_used_at
            facts = {
                **_key(row),
                "days": days,
                "created_at": to_json_moment(row.created_at),
                "last_used_at": to_json_moment(last),
            }
            yield Happened(UNUSED, row.id, f"{days} days from {to_json_moment(last or row.created_at)}", facts)


def keys_expiring(org_id: str, days: int, at: datetime) -> Iterator[Happened]:
    """Live keys that end within so many days; not those that were made for no longer."""
    length = timedelta(days=days)
    wanted = (ProxyKey.expires_at > at) & (ProxyKey.expires_at <= at + length)
    for row in _live(org_id, at, wanted):
        if row.expires_at - row.created_at > length:
            ends = to_json_moment(row.expires_at)
            yield Happened(EXPIRING, row.id, f"{ends}", {**_key(row), "days": days, "expires_at": ends})


def _live(org_id: str, at: datetime, wanted: ColumnElement[bool]) -> Sequence[Any]:
    """Keys that could be used. One that is paused may be meant to rest, and one that has expired is told of before."""
    query = select(
        ProxyKey.id, ProxyKey.name, ProxyKey.prefix, ProxyKey.created_at, ProxyKey.last_used_at, ProxyKey.expires_at
    ).where(
        ProxyKey.org_id == org_id,
        ProxyKey.revoked_at.is_(None),
        ProxyKey.paused.is_(False),
        ProxyKey.expires_at.is_(None) | (ProxyKey.expires_at > at),
        wanted,
    )
    return db.session.execute(query).all()


def credentials_refused(org_id: str, at: datetime) -> Iterator[Happened]:
    """Credentials that their providers refused since they were stored, today; each once a day.

    Where a provider has several, its requests tell with which of them they were sent.
    """
    table = ProviderCredential
    query = select(table.provider, table.label, table.id, table.created_at).where(table.org_id == org_id, table.enabled)
    stored: dict[str, dict[str | None, tuple[datetime, str]]] = {}  # since when, and of what it is told
    for provider, label, id_, since in db.session.execute(query):
        known = stored.setdefault(provider, {})
        known[label] = since, id_
        # Who does not say with which one was sent when there was one: what was stored since has nothing to do with it.
        known[None] = max(known.get(None, (since, provider)), (since, provider))
    for provider, known in stored.items():
        for row in _refused_by(org_id, provider, min(known.values())[0], at):
            said = row.tried[-1]["label"] if row.tried else None
            if said not in known or row.admitted_at < known[said][0]:
                continue
            stored_at, subject = known.pop(said)
            last_at = to_json_moment(row.admitted_at)
            facts = {"provider": provider, "label": said, "status": row.status, "last_at": last_at}
            yield Happened(CREDENTIAL, subject, f"{row.admitted_at.date()} since {to_json_moment(stored_at)}", facts)


def _refused_by(org_id: str, provider: str, since: datetime, at: datetime) -> Sequence[Any]:
    """The last requests whose credential a provider refused, the newest first."""
    # A request of the last minutes of a day may be in the ledger only on the next one.
    midnight = datetime(at.year, at.month, at.day, tzinfo=UTC) - timedelta(minutes=15)
    refused = (
        select(UsageRecord.admitted_at, UsageRecord.status, UsageRecord.tried)
        .where(UsageRecord.org_id == org_id, _REFUSED)
        .where(UsageRecord.admitted_at >= max(since, midnight))
        .where(UsageRecord.provider == provider)
        .order_by(UsageRecord.admitted_at.desc())
        .limit(_LOOKED_AT)
    )
    return db.session.execute(refused).all()


def refusals_in_window(org_id: str, most: int, at: datetime) -> Iterator[Happened]:
    """Whether so many requests were refused within ten minutes; once an hour."""
    minute = at.replace(second=0, microsecond=0)
    _note_refusals(org_id, minute, at.date())
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
        yield Happened(REFUSALS, org_id, f"{at:%Y-%m-%dT%H}", {"refusals": refused, "minutes": WINDOW_MINUTES})


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


def _midnight(day: date) -> str | None:
    return to_json_moment(datetime.fromtimestamp(periods.unix(day), UTC))
