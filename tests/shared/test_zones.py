"""Days and periods of time zones, against their clocks minute by minute."""

from datetime import UTC, date, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import periods, zones
from shared.periods import LocalDay

# With half hours, quarters, a change of half an hour, changes at midnight, and both ends of the date line.
ODD = (
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)
ZONES = st.sampled_from(ODD) | st.sampled_from(zones.names())
MOMENTS = st.integers(1_000_000_000, 2_100_000_000)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def shown(zone: str, now: float) -> date:
    """The date that a clock shows there."""
    return datetime.fromtimestamp(now, zones.load(zone)).date()


def first_moment(zone: str, day: date) -> int:
    """Of a day, by asking the clock each minute of four days around it."""
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) - 2 * 86_400
    return next(start + 60 * number for number in range(4 * 1440) if shown(zone, start + 60 * number) >= day)


@given(ZONES, MOMENTS)
def test_a_day_begins_with_its_first_moment(zone: str, now: int) -> None:
    day = shown(zone, now)
    assert periods.begins_at(day, zone) == first_moment(zone, day)


@pytest.mark.parametrize("zone", ODD)
def test_every_day_of_some_years_where_clocks_change(zone: str) -> None:
    """No moment lies between two days, and each is in the day that its clock shows."""
    day, began = date(2025, 1, 1), periods.begins_at(date(2025, 1, 1), zone)
    while day < date(2027, 1, 1):
        following = day + timedelta(days=1)
        ends = periods.begins_at(following, zone)
        assert 22 * 3600 < ends - began < 26 * 3600
        for now in (began, (began + ends) // 2, ends - 1):
            assert shown(zone, now) == day
            assert periods.local_day(zone, now) == LocalDay(day.toordinal(), began, ends)
        day, began = following, ends


@pytest.mark.parametrize(
    ("zone", "day", "begins", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00", 25),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00", 23),  # 00:00 is left out: it begins at 01:00
        ("America/Santiago", "2026-04-04", "2026-04-04T03:00", 25),  # 23:00 comes twice
        ("Africa/Cairo", "2026-04-24", "2026-04-23T22:00", 23),  # likewise on a Friday
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00", 23),
        ("America/Havana", "2024-11-03", "2024-11-03T04:00", 25),  # 00:00 comes twice
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03T13:30", 23.5),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00", 24.5),
        ("Asia/Kolkata", "2026-11-26", "2026-11-25T18:30", 24),
        ("Pacific/Kiritimati", "2026-11-26", "2026-11-25T10:00", 24),
        ("Pacific/Pago_Pago", "2026-11-26", "2026-11-26T11:00", 24),
        ("America/Toronto", "1919-03-31", "1919-03-31T04:30", 23.5),  # set from 23:30 to 00:30
        ("Pacific/Apia", "2011-12-29", "2011-12-29T10:00", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00", 0),  # a day that there was not
        ("America/St_Johns", "2006-10-29", "2006-10-29T02:30", 25),  # at 00:01 it was 23:01 of the day before again
    ],
)
def test_days_of_other_lengths(zone: str, day: str, begins: str, hours: float) -> None:
    first = date.fromisoformat(day)
    began, ends = periods.begins_at(first, zone), periods.begins_at(first + timedelta(days=1), zone)
    assert (began, (ends - began) / 3600) == (at(begins), hours)
    if hours:
        assert {periods.day_of(now, zone) for now in (began, began + 90, ends - 1)} == {first}


@given(ZONES, st.sampled_from(("daily", "weekly", "monthly")), MOMENTS)
def test_a_moment_lies_in_its_own_period_only(zone: str, reset: str, now: int) -> None:
    start, end = periods.period_of(reset, now, zone)
    assert end is not None
    assert periods.begins_at(start, zone) <= now < periods.begins_at(end, zone)
    assert periods.period_of(reset, periods.begins_at(end, zone), zone)[0] >= end  # later where a day was left out
    assert periods.period_of(reset, periods.begins_at(end, zone) - 1, zone) == (start, end)
    assert start.isoweekday() == 7 if reset == "weekly" else start.day == 1 or reset == "daily"


def test_a_zone_is_asked_once_a_day() -> None:
    """However many keys of it there are: a request compares two numbers."""
    noon = at("2026-11-26T12:00")
    day = periods.local_day("Asia/Tokyo", noon)
    assert periods.local_day("Asia/Tokyo", day.begins) is day
    assert periods.local_day("Asia/Tokyo", day.ends - 0.001) is day
    assert periods.local_day("Asia/Tokyo", day.ends).ordinal == day.ordinal + 1
    assert periods.local_day("Asia/Tokyo", day.ends - 2) == day, "a clock may step back"


def test_the_ends_of_the_calendar_overflow_as_dates_do() -> None:
    """Whoever reads a moment of a request says what is wrong with it."""
    first, last = at("0001-01-01T00:00"), at("9999-12-31T23:59:59")
    assert (periods.day_of(first), periods.day_of(last)) == (date.min, date.max)
    for zone in ("America/New_York", "Asia/Tokyo"):
        with pytest.raises(OverflowError):
            periods.day_of(last, zone)
    with pytest.raises(OverflowError):
        periods.day_of(first, "America/New_York")


def test_utc_by_its_name_is_as_without_a_zone() -> None:
    for now in (0, at("2026-11-26T23:59"), at("2027-01-01T00:00")):
        assert periods.day_of(now, "UTC") == periods.day_of(now)
    assert zones.of_stored("UTC") is None


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (" europe/berlin ", "Europe/Berlin"),
        ("AMERICA/NEW YORK", "America/New_York"),
        (" america / new_york ", "America/New_York"),
        ("america/argentina /  buenos  aires", "America/Argentina/Buenos_Aires"),
        ("Zulu", "UTC"),
        ("etc / GMT+0", "UTC"),
        ("america//new_york", None),
        ("america/argentina/buenos aires", "America/Argentina/Buenos_Aires"),
        ("utc", "UTC"),
        ("Etc/GMT+5", "Etc/GMT+5"),
        ("Asia/Calcutta", "Asia/Calcutta"),
        ("Factory", None),
        ("+02:00", None),
        ("", None),
        ("../../etc/passwd", None),
        ("Europe/Berlin\0", None),
        ("x" * 100_000, None),
    ],
)
def test_names_as_people_write_them(said: str, meant: str | None) -> None:
    if meant is not None:
        assert zones.read(said) == meant
        return
    with pytest.raises(ValueError, match=r"must be a time zone of the IANA database, such as Europe/Berlin"):
        zones.read(said)


def test_other_names_of_utc_are_utc() -> None:
    """All whose clocks never showed anything else, and no other: zones of today's offset had other ones."""
    always = set()
    for name in zones.names():
        rules = files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
        changes_at = rules.rindex(b"TZif") + 32  # how many there are (RFC 8536)
        if rules[changes_at : changes_at + 4] == bytes(4) and rules.endswith((b"\nUTC0\n", b"\nGMT0\n")):
            always.add(name)
    assert {name for name in zones.names() if zones.read(name) == "UTC"} == always
    assert {"Etc/UTC", "GMT", "Zulu"} <= always
    assert zones.read("Africa/Abidjan") == "Africa/Abidjan"


def test_a_slip_is_shown() -> None:
    with pytest.raises(ValueError, match=r"did you mean Europe/Berlin\?$"):
        zones.read("Europe/Berlni")


def test_every_name_can_be_used() -> None:
    for name in zones.names():
        assert zones.load(name).key == name
        assert len(name) <= 64
    assert len(zones.names()) > 400


def test_an_unknown_zone_that_is_stored_counts_in_utc(caplog: pytest.LogCaptureFixture) -> None:
    """As a database of a later release may hold one: requests go on, and the log says what is wrong."""
    assert zones.of_stored("Mars/Olympus_Mons") is None
    assert "Mars/Olympus_Mons" in caplog.text
    with pytest.raises(ValueError, match="Mars"):
        zones.load("Mars/Olympus_Mons")
