"""What is left of a limit, as answers tell it. No I/O."""

from shared.counters.moments import Moment, Period
from shared.counters.values import RateState, SpendState
from shared.counters.window import Window
from shared.money import MAX_NANOS


def rate_state(window: Window, moment: Moment, limit: int) -> RateState:
    """Of a window's limit, whatever it counts."""
    used = window.count(moment.second)
    # Rounded up, so that the second it names is never too early.
    resets_at = -int(-(moment.wall + window.empty_in(moment.steady)) // 1)
    return RateState(limit, max(0, limit - used), resets_at)


def spend_state(period: Period, limit_nanos: int | None, spent: int, held: int) -> SpendState:
    remaining = None
    if limit_nanos is not None:
        remaining = limit_nanos - spent - held
        remaining = max(remaining, 0)
    if spent > MAX_NANOS or held > MAX_NANOS:
        spent, held = min(spent, MAX_NANOS), min(held, MAX_NANOS)
    return SpendState(limit_nanos, spent, held, remaining, period.start_date, period.resets_on)
