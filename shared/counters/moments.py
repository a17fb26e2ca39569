"""When something is: one reading of both clocks, and the period of a day. No I/O."""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

from shared import periods

KEEP_DAYS = 37  # more than the longest period that ends
DAY_SECONDS = 86400
UNIX_EPOCH_DAY = date(1970, 1, 1).toordinal()


class Moment(NamedTuple):
    """One reading of both clocks, the same for a whole batch."""

    wall: float
    steady: float

    day: int  # UTC's, an ordinal; that of a zone `in_zone`
    second: int  # steady

    def in_zone(self, zone: str | None) -> "Moment":
        """The same with the day that it is in a zone; None: in UTC."""
        if zone is None:
            return self
        return self.on_day(periods.local_day(zone, self.wall).ordinal)

    def on_day(self, day: int) -> "Moment":
        """The same with a day that was found before."""
        return Moment(self.wall, self.steady, day, self.second)


def moment_of(wall: float, steady: float) -> Moment:
    """From Unix seconds and seconds of the steady clock."""
    return Moment(wall, steady, int(wall // DAY_SECONDS) + UNIX_EPOCH_DAY, int(steady))


class Period(NamedTuple):
    """The period of one day: ordinals [start, end) for the rows, dates for people."""

    start: int
    end: int
    start_date: date
    resets_on: date | None


class BatchContext(NamedTuple):
    """What the charges of one batch are decided by, besides their rows."""

    generation: int
    live: bool  # every worker has told what it holds
    moment: Moment

    def in_zone(self, zone: str) -> "BatchContext":
        """The same for charges whose periods begin in a zone."""
        return BatchContext(self.generation, self.live, self.moment.in_zone(zone))


@lru_cache(maxsize=64)
def period_of_day(reset: str, day: int) -> Period:
    """The period that holds a day. Raises ValueError for an unknown reset."""
    start, end = periods.period_of_day(reset, date.fromordinal(day))
    return Period(start.toordinal(), date.max.toordinal() if end is None else end.toordinal(), start, end)
