"""What keys, tags and the organisation will have spent by the end of the running period, from the ledger's sums.

The period of a key is that of its spend limit; of one that never resets, and of all others, the month.
"""

from collections.abc import Collection, Iterable
from datetime import date

from sqlalchemy import Row, func, select

from shared import periods
from shared.models import KeySpend, OrganizationUsage, TagUsage
from webapp.context import now
from webapp.db import db
from webapp.queries.keys import get_key
from webapp.views.calendar import today_of
from webapp.views.forecast import Forecast, forecast, oldest_day
from webapp.views.keys import KeyView

_MONTH = "monthly"


def forecast_of_key(org_id: str, key_id: str) -> Forecast:
    """Raises NotFound."""
    return forecast_of_view(org_id, get_key(org_id, key_id))


def forecast_of_view(org_id: str, key: KeyView) -> Forecast:
    """The same of a key that is known."""
    first, end, today = _period(org_id, _MONTH if key.spend_reset == "never" else key.spend_reset)
    days = (KeySpend.day >= oldest_day(first, today), KeySpend.day > periods.FIRST_DAY, KeySpend.day <= today)
    rows = db.session.execute(select(KeySpend.day, KeySpend.total_nanos).where(KeySpend.key_id == key.id, *days))
    return forecast(_by_day(rows), first, end, today)


def forecast_of_organization(org_id: str) -> Forecast:
    first, end, today = _period(org_id, _MONTH)
    days = (OrganizationUsage.day >= oldest_day(first, today), OrganizationUsage.day <= today)
    query = select(OrganizationUsage.day, func.sum(OrganizationUsage.cost_nanos))
    query = query.where(OrganizationUsage.org_id == org_id, *days).group_by(OrganizationUsage.day)
    return forecast(_by_day(db.session.execute(query)), first, end, today)


def forecasts_of_tags(org_id: str, tags: Collection[str]) -> dict[str, Forecast]:
    """Of the keys that have each of these tags now; of a tag that no key has, of nothing."""
    first, end, today = _period(org_id, _MONTH)
    days = (TagUsage.day >= oldest_day(first, today), TagUsage.day <= today)
    query = select(TagUsage.tag, TagUsage.day, TagUsage.cost_nanos).where(TagUsage.org_id == org_id, *days)
    spent: dict[str, dict[date, int]] = {tag: {} for tag in tags}
    if tags:
        for tag, day, nanos in db.session.execute(query.where(TagUsage.tag.in_(tags))):
            spent[tag][day] = int(nanos)
    return {tag: forecast(by_day, first, end, today) for tag, by_day in spent.items()}


def _period(org_id: str, reset: str) -> tuple[date, date, date]:
    """The first day of the running period, the first of the next one, and today."""
    today = today_of(org_id, now())
    first, end = periods.period_of_day(reset, today)
    assert end is not None  # noqa: S101 - only a period that never resets has none
    return first, end, today


def _by_day(rows: Iterable[Row[date, int]]) -> dict[date, int]:
    return {day: int(nanos) for day, nanos in rows}
