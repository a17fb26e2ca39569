"""Calendar periods of a spend limit. A period is a run of whole days, so usage is kept by day.

Days are those of a time zone, by its IANA name; None is UTC. A day lasts from the first moment that has its date, or a
later one, to that of the next day: 23 or 25 hours where clocks change. That moment is midnight, but where midnight is
left out (America/Santiago in September), and where clocks go back over it, when it is the first of the two.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from shared import zones

RESETS = ("never", "daily", "weekly", "monthly")
FIRST_DAY = date(1970, 1, 1)
_ONE_DAY = timedelta(days=1)
_DAY_SECONDS = 86400


class LocalDay(NamedTuple):
    """A day of a zone. It holds the moments from `begins` on and before `ends`, in Unix seconds."""

    ordinal: int
    begins: int
    ends: int


def day_of(now: float, zone: str | None = None) -> date:
    """The day of a moment in Unix seconds. Raises OverflowError at the ends of the calendar, as dates do."""
    if zone is None:
        return datetime.fromtimestamp(now, UTC).date()
    return date.fromordinal(local_day(zone, now).ordinal)


def moment_text(now: float) -> str:
    """A moment in Unix seconds as answers tell it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")


def period_of(reset: str, now: float, zone: str | None = None) -> tuple[date, date | None]:
    """First day of the period that holds `now`, and first day of the next one (None: it never ends).

    Weeks start on Sunday, months on the first. Raises ValueError for an unknown reset.
    """
    return period_of_day(reset, day_of(now, zone))


def period_of_day(reset: str, today: date) -> tuple[date, date | None]:
    """The same for the period that holds a day, in whatever zone."""
    if reset == "never":
        return FIRST_DAY, None
    if reset == "daily":
        return today, today + _ONE_DAY
    if reset == "weekly":
        start = today - timedelta(days=today.isoweekday() % 7)
        return start, start + timedelta(days=7)
    if reset == "monthly":
        start = today.replace(day=1)
        return start, (start + timedelta(days=32)).replace(day=1)
    raise ValueError(f"unknown spend reset {reset!r}")


@lru_cache(maxsize=4096)
def begins_at(day: date, zone: str | None = None) -> int:
    """Unix seconds of a day's first moment."""
    if zone is None:
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    info = zones.load(zone)
    # The first midnight of two; of one that is left out, what the clock would have shown by the time before.
    begins = int(datetime(day.year, day.month, day.day, tzinfo=info).timestamp())
    if _date(begins - 1, info) < day:
        return begins
    # Clocks were set on before midnight: the day began with that.
    before = begins - 2 * _DAY_SECONDS
    while begins - before > 1:
        middle = (before + begins) // 2
        if _date(middle, info) < day:
            before = middle
        else:
            begins = middle
    return begins


_days: dict[str, LocalDay] = {}  # by zone: the one that was asked for last


def local_day(zone: str, now: float) -> LocalDay:
    """The day of a moment. That of this moment is found for all keys of a zone once."""
    found = _days.get(zone)
    if found is None or not found.begins <= now < found.ends:
        found = _days[zone] = _local_day(zone, now)
    return found


def _local_day(zone: str, now: float) -> LocalDay:
    day = _date(now, zones.load(zone))
    ends = begins_at(day + _ONE_DAY, zone)
    if now >= ends:  # clocks went back over midnight, and show the day before once more
        day, ends = day + _ONE_DAY, begins_at(day + 2 * _ONE_DAY, zone)
    return LocalDay(day.toordinal(), begins_at(day, zone), ends)


def _date(now: float, info: ZoneInfo) -> date:
    return datetime.fromtimestamp(now, info).date()
