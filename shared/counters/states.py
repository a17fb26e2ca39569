"""What is left of a limit, as answers tell it. No I/O."""

from shared.counters.moments import Moment, Period
from shared.counters.values import RateState, SpendState
from shared.counters.window import Window
from shared.money import MAX_NANOS


def rate_state(window: Window, moment: Moment, limit: int) -> RateState:
    """Of a window's limit, whatever it counts."""
    window.count(moment.second)
    return counted_rate(window, moment, limit)


def counted_rate(window: Window, moment: Moment, limit: int) -> RateState:
    """The same where the window was counted at this moment before."""
    # Rounded up, so that the second it names is never too early.
    resets_at = -int(-(moment.wall + window.empty_in(moment.steady)) // 1)
    return RateState(limit, max(0, limit - window.total), resets_at)


def spend_state(period: Period, limit_nanos: int | None, spent: int, held: int) -> SpendState:
    remaining = None if limit_nanos is None else max(limit_nanos - spent - held, 0)
    if spent > MAX_NANOS or held > MAX_NANOS:
        spent, held = min(spent, MAX_NANOS), min(held, MAX_NANOS)
    return SpendState(limit_nanos, spent, held, remaining, period.start_date, period.resets_on)
