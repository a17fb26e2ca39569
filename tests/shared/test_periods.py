"""Calendar periods in UTC."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import periods


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_it_works() -> None:
    assert periods.period_of("daily", at("2026-11-24T10:00")) == (date(2026, 11, 24), date(2026, 11, 25))
    assert periods.period_of("monthly", at("2026-11-24T10:00")) == (date(2026, 11, 1), date(2026, 12, 1))
    assert periods.period_of("never", at("2026-11-24T10:00")) == (periods.FIRST_DAY, None)


@pytest.mark.parametrize(
    ("moment", "start"),
    [
        ("2026-11-21T23:59:59", date(2026, 11, 15)),  # Saturday, the last second of the week
        ("2026-11-22T00:00:00", date(2026, 11, 22)),  # Sunday
        ("2026-11-28T12:00:00", date(2026, 11, 22)),
        ("2027-01-01T00:00:00", date(2026, 12, 27)),  # a week over the end of a year
    ],
)
def test_weeks_start_on_sunday(moment: str, start: date) -> None:
    assert periods.period_of("weekly", at(moment)) == (start, start + timedelta(days=7))


@pytest.mark.parametrize(
    ("moment", "next_start"),
    [
        ("2026-02-28T23:59:59", date(2026, 3, 1)),
        ("2028-02-29T12:00:00", date(2028, 3, 1)),
        ("2026-12-31T23:59:59", date(2027, 1, 1)),
        ("2026-03-29T01:30:00", date(2026, 4, 1)),  # a clock change in Europe is no boundary
    ],
)
def test_months_end_where_the_calendar_says(moment: str, next_start: date) -> None:
    assert periods.period_of("monthly", at(moment))[1] == next_start


@given(st.sampled_from(["daily", "weekly", "monthly"]), st.integers(0, 4_000_000_000))
def test_a_moment_lies_in_its_own_period_only(reset: str, now: int) -> None:
    start, end = periods.period_of(reset, now)
    assert end is not None
    assert periods.begins_at(start) <= now < periods.begins_at(end)
    assert periods.period_of(reset, periods.begins_at(end))[0] == end
    assert periods.period_of(reset, periods.begins_at(start))[0] == start


def test_an_unknown_reset_is_an_error() -> None:
    with pytest.raises(ValueError, match="hourly"):
        periods.period_of("hourly", 0)
