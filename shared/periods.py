"""Calendar periods of a spend limit, in UTC. A period is a run of whole days, so usage is kept by day."""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

RESETS = ("never", "daily", "weekly", "monthly")
FIRST_DAY = date(1970, 1, 1)


def day_of(now: float) -> date:
    """The UTC day of a moment in Unix seconds."""
    return datetime.fromtimestamp(now, UTC).date()


def moment_text(now: float) -> str:
    """A moment in Unix seconds as answers tell it: RFC 3339, in UTC."""
    return datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")


def period_of(reset: str, now: float) -> tuple[date, date | None]:
    """First day of the period that holds `now`, and first day of the next one (None: it never ends).

    Days start at 00:00 UTC, weeks on Sunday, months on the first. Raises ValueError for an unknown reset.
    """
    today = day_of(now)
    if reset == "never":
        return FIRST_DAY, None
    if reset == "daily":
        return today, today + timedelta(days=1)
    if reset == "weekly":
        start = today - timedelta(days=today.isoweekday() % 7)
        return start, start + timedelta(days=7)
    if reset == "monthly":
        start = today.replace(day=1)
        return start, (start + timedelta(days=32)).replace(day=1)
    raise ValueError(f"unknown spend reset {reset!r}")


@lru_cache(maxsize=64)
def unix(day: date) -> int:
    """Unix seconds of a day's first moment in UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
