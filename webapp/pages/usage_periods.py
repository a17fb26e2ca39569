"""The days that the pages about usage are about: a period with a name, or any days. All of the organisation's zone."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from shared.periods import period_of_day

Days = tuple[date, date]  # the first and the last one


@dataclass(frozen=True, slots=True)
class Period:
    """A period with a name, as it stands in addresses and on the page."""

    slug: str
    label: str
    days: Callable[[date], Days]  # as of a day


def _month(today: date) -> Days:
    return today.replace(day=1), today


def _last_month(today: date) -> Days:
    last = today.replace(day=1) - timedelta(days=1)
    return last.replace(day=1), last


def _last_week(today: date) -> Days:
    """As weekly limits have it: from Sunday to Saturday."""
    starts, _ = period_of_day("weekly", today)
    return starts - timedelta(days=7), starts - timedelta(days=1)


def _back(days: int) -> Callable[[date], Days]:
    return lambda today: (today - timedelta(days=days - 1), today)


PERIODS = (
    Period("today", "Today", _back(1)),
    Period("yesterday", "Yesterday", lambda today: (today - timedelta(days=1), today - timedelta(days=1))),
    Period("7d", "7 days", _back(7)),
    Period("last-week", "Last week", _last_week),
    Period("30d", "30 days", _back(30)),
    Period("month", "This month", _month),
    Period("last-month", "Last month", _last_month),
)
DEFAULT = "30d"
BY_SLUG = {period.slug: period for period in PERIODS}


def same_days_of_last_month(today: date) -> Days:
    """From the first of last month to the same day in it, or to its end if it is shorter."""
    first, last = _last_month(today)
    return first, min(last, first + (today - today.replace(day=1)))


def in_words(first: date, last: date) -> str:
    """`24 Nov 2026`; `1 to 24 Nov 2026`; `30 Oct to 2 Nov 2026`; `30 Dec 2025 to 2 Jan 2026`."""
    end = f"{last.day} {last:%b %Y}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} to {end}"
    return f"{first.day} {first:%b}{'' if first.year == last.year else f' {first.year}'} to {end}"
