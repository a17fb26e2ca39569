"""What a period will have cost at its end, if its days go on as the last ones went. Whole nano-dollars throughout.

Nothing is limited or charged by it. Each day that is still to come is expected to cost what the days of the history
cost on average: with a whole fortnight of it those of the same weekday, with less of it all days alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import isqrt

HISTORY_DAYS = 14
LEAST_DAYS = 7
LOOKED_BACK = timedelta(days=28)  # for the first day of use; who was not used for longer begins anew
METHOD = (
    "Each day to come is taken to cost the mean of the last 14 whole days, of the same weekday where there are 14, and "
    "of all of them where there are 7 to 13. The range is two standard deviations to both sides: how far those days "
    "lie from their mean, over all days that remain, with the error of the mean itself."
)


@dataclass(frozen=True, slots=True)
class Forecast:
    """A period from `first` to the day before `end`. The last three are None where there is too little history."""

    first: date
    end: date
    spent_nanos: int
    history_days: int  # whole days that it is made from
    expected_nanos: int | None = None
    low_nanos: int | None = None
    high_nanos: int | None = None


def oldest_day(first: date, today: date) -> date:
    """From which day on a forecast wants to know what was spent."""
    return min(first, today - LOOKED_BACK)


def forecast(spent: Mapping[date, int], first: date, end: date, today: date) -> Forecast:
    """By what was spent on each day from `oldest_day` on, until `today`, which has not ended yet."""
    so_far = sum(nanos for day, nanos in spent.items() if first <= day <= today)
    began = min((day for day, nanos in spent.items() if nanos and today - LOOKED_BACK <= day < today), default=today)
    known = min(HISTORY_DAYS, (today - began).days)
    if known < LEAST_DAYS:
        return Forecast(first, end, so_far, known)
    by_weekday = known == HISTORY_DAYS
    history: dict[int, list[int]] = {}
    for back in range(1, known + 1):
        day = today - timedelta(days=back)
        history.setdefault(day.weekday() if by_weekday else 0, []).append(spent.get(day, 0))
    means = {kind: sum(amounts) // len(amounts) for kind, amounts in history.items()}
    ahead: dict[int, int] = {}
    for number in range((end - today).days):
        kind = (today + timedelta(days=number)).weekday() if by_weekday else 0
        ahead[kind] = ahead.get(kind, 0) + 1
    of_today = means[today.weekday() if by_weekday else 0]
    rest = sum(means[kind] * count for kind, count in ahead.items()) - min(of_today, spent.get(today, 0))
    expected = so_far + max(0, rest)
    reach = 2 * isqrt(_variance(history, means, ahead))
    return Forecast(first, end, so_far, known, expected, max(so_far, expected - reach), expected + reach)


def _variance(history: Mapping[int, list[int]], means: Mapping[int, int], ahead: Mapping[int, int]) -> int:
    """Of the sum of all days ahead: each by itself, and the errors of means, which are the same for all of a kind."""
    squares = sum((nanos - means[kind]) ** 2 for kind, amounts in history.items() for nanos in amounts)
    freedom = sum(map(len, history.values())) - len(history)
    of_a_day = squares // freedom
    of_means = sum(of_a_day * count**2 // len(history[kind]) for kind, count in ahead.items())
    return of_a_day * sum(ahead.values()) + of_means
