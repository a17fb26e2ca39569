"""What the address of a page about usage asks for: which days, by what, counted in what, and where a page begins."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode

from shared.periods import day_of
from webapp.context import now
from webapp.pages import usage_periods
from webapp.queries.top_keys import Place
from webapp.schemas.lists import GROUPS, UsageQuery, usage_place
from webapp.validation import FieldError, Invalid, read
from webapp.views.calendar import begins

METRICS = (("cost", "Cost"), ("requests", "Requests"), ("tokens", "Tokens"))
BY = (("day", "Day"), ("key", "Key"), ("provider", "Provider"), ("model", "Model"), ("tag", "Tag"), ("label", "Label"))
_FOREIGN = "is not one that this page gave; start without it"


@dataclass(frozen=True, slots=True)
class Wanted:
    """`period` is the slug of a named period, "" for days of somebody's own; `below` is where the page begins."""

    period: str
    first: date
    last: date
    group_by: str
    metric: str
    below: Place | None
    zone: str | None = None  # whose days they are; None: UTC

    @property
    def days(self) -> tuple[date, date]:
        return self.first, self.last

    @property
    def moments(self) -> dict[str, str]:
        """The days as lists of requests have them: from the first one's beginning on, and before the last one's end."""
        told = {"from": self._begins(self.first)}
        if self.last < date.max:
            told["to"] = self._begins(self.last + timedelta(days=1))
        return told

    def _begins(self, day: date) -> str:
        return begins(day, self.zone).replace(tzinfo=None).isoformat(timespec="minutes")

    def href(self, path: str = "/usage", **changes: str) -> str:
        """The address of this page, or of one that differs in something. Another page of it begins at its start."""
        told = {"period": self.period, "group_by": self.group_by, "metric": self.metric}
        if not self.period:
            told |= {"from": self.first.isoformat(), "to": self.last.isoformat()}
        if changes.get("period"):
            told.pop("from", None)
            told.pop("to", None)
        told |= changes
        defaults = {"period": usage_periods.DEFAULT, "group_by": BY[0][0], "metric": METRICS[0][0]}
        query = urlencode({name: value for name, value in told.items() if value and defaults.get(name) != value})
        return f"{path}?{query}" if query else path


def of_days(first: date, last: date, group_by: str = "day") -> str:
    """The address of the page about some days."""
    return Wanted("", first, last, group_by, METRICS[0][0], None).href()


def standard(zone: str | None, period: str = usage_periods.DEFAULT, group_by: str = "day") -> Wanted:
    """A named period as of now."""
    first, last = usage_periods.BY_SLUG[period].days(day_of(now().timestamp(), zone))
    return Wanted(period, first, last, group_by, METRICS[0][0], None, zone)


def wanted(said: Mapping[str, str], zone: str | None) -> Wanted:
    """What these parameters ask for. Raises Invalid for days that are none; what nobody offered is as if not said."""
    group_by = said.get("group_by", "")
    group_by = group_by if group_by in GROUPS else BY[0][0]
    metric = said.get("metric", "")
    metric = metric if metric in dict(METRICS) else METRICS[0][0]
    period = said.get("period", "")
    own = {name: said[name] for name in ("from", "to") if said.get(name)}
    if own:
        first, last = read(UsageQuery, own, now=now(), zone=zone).days
        period = ""
    else:
        period = period if period in usage_periods.BY_SLUG else usage_periods.DEFAULT
        first, last = usage_periods.BY_SLUG[period].days(day_of(now().timestamp(), zone))
    cursor = said.get("cursor", "")
    return Wanted(period, first, last, group_by, metric, _place(group_by, cursor) if cursor else None, zone)


def _place(group_by: str, cursor: str) -> Place:
    try:
        return usage_place(group_by, cursor)
    except (ValueError, TypeError):
        raise Invalid(FieldError("cursor", _FOREIGN)) from None
