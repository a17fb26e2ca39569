"""Money of one row of the counters, by day. No I/O.

Nearly all is booked on one day, which is in the period that is asked for: that way is short, and does as the long one.
"""

from shared.counters.moments import Period
from shared.counters.states import spend_state
from shared.counters.values import SpendState
from shared.money import MAX_NANOS


class DaySums:
    """`days` maps an ordinal to [spent, held]; changed by methods only. `lifetime` is what all days have spent."""

    __slots__ = (
        "_booked", "_held", "_hot", "_hot_day", "_older", "_older_of", "_period", "_spent", "days", "lifetime",
    )  # fmt: skip

    def __init__(self, lifetime: int, days: dict[int, list[int]]) -> None:
        self.lifetime = lifetime
        self.days = days
        self._period: Period | None = None  # whose sums the next two are
        self._spent = self._held = 0
        self._booked = 0  # the day that changed last, when it was another one than that of the next two
        # What a row that is stored has of all that is in no fixed place; None: it has to be made anew.
        self._older: bytes | None = None
        self._older_of = (0, 0, 0)  # the last day, the last second, and the state of the window
        self._hot_day = -1  # the day that comes first, while it is in the period
        self._hot: list[int] = []  # its sums, the same as in `days`

    def sums(self, period: Period) -> tuple[int, int]:
        """Nanos spent and held in a period."""
        if period is not self._period:
            entries = [entry for day, entry in self.days.items() if period.start <= day < period.end]
            self._spent = sum([entry[0] for entry in entries])
            self._held = sum([entry[1] for entry in entries])
            self._period = period
            self._hot_day = -1
        return self.lifetime if period.resets_on is None else self._spent, self._held

    def _book(self, day: int, spent: int, held: int) -> None:
        """Add to what a day has spent and holds, and to the sums if it is in their period."""
        if day == self._hot_day:
            hot = self._hot
            spent_after, held_after = hot[0] + spent, hot[1] + held
            if 0 <= held_after <= MAX_NANOS and spent_after <= MAX_NANOS:
                hot[0] = spent_after
                hot[1] = held_after
                self._spent += spent
                self._held += held
                return
        entry = self.days.get(day)
        if entry is None:
            entry = self.days[day] = [0, 0]
        spent_after, held_after = entry[0] + spent, entry[1] + held
        if spent_after > MAX_NANOS or not 0 <= held_after <= MAX_NANOS:
            spent_after, held_after = min(spent_after, MAX_NANOS), max(0, min(held_after, MAX_NANOS))
            spent, held = spent_after - entry[0], held_after - entry[1]
        entry[0] = spent_after
        entry[1] = held_after
        if (period := self._period) is not None and period[0] <= day < period[1]:  # its start and its end
            self._spent += spent
            self._held += held
            if day == self._older_of[0]:
                self._hot_day, self._hot = day, entry
        if day != self._older_of[0]:
            self._older, self._booked = None, day

    def spend(self, period: Period, limit_nanos: int | None) -> SpendState:
        spent, held = self.sums(period)
        return spend_state(period, limit_nanos, spent, held)
