"""The wall clock steps while requests are in flight, and days end under load: no limit is passed, nothing is lost."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from clock_kit import WallClock
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Call, Key, Load, call, make_key, make_keys
from reckoning import Audit, Reckoned, limits_are_watched, name_of, reckon
from sizes import SEED, chance, size

from shared import money, periods

Tell = Callable[[object], None]


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="module")
def clocked(make: Make, wall: WallClock) -> Iterator[FaultyRouter]:
    """A router whose proxy and dashboard go by `wall`; the provider by the true time."""
    router = make()
    router.start("sandbox")
    router.environ |= wall.environ
    router.start("proxy", "dashboard")
    router.wait_until_ready()
    yield router
    router.stop_all()


@pytest.fixture(autouse=True)
def true_time(wall: WallClock) -> Iterator[None]:
    """Whatever a test has done or failed in, the next one begins today."""
    yield
    wall.set(0)


def test_steps_of_the_wall_clock_under_load(clocked: FaultyRouter, wall: WallClock, tell: Tell) -> None:
    """M4, M14. Holds stay, rates are counted by a clock that cannot step, and every call is in the ledger once."""
    keys = make_keys(clocked)
    slow = make_key(clocked, "slow rate", rate_limit_rpm=3)
    source = chance("clock")
    with Load(clocked, keys, seed=SEED, clients=6, slow=1.0) as load, limits_are_watched(clocked, keys):
        began = time.monotonic()
        first = [call(clocked, slow) for _ in range(3)]
        for _ in range(size(8, 200)):
            wall.set(source.choice((-1, 1)) * source.choice((1, 5, 61, 130, 301, 3_600, 86_400)))
            load.wait_for(5)
            if time.monotonic() - began < 60:
                first.append(call(clocked, slow))
        wall.set(0)
        load.wait_for(5)
    # The last may have been sent within the minute and judged after it.
    within = [made.reply.code for made in first if made.reply.began_at + made.reply.seconds - began < 60]
    assert len(within) > 3
    assert within == [None] * 3 + ["rate_limited"] * (len(within) - 3)
    tell(reckon(clocked, [*load.calls, *first], [*keys, slow]))


def test_a_day_ends_under_load(clocked: FaultyRouter, wall: WallClock, tell: Tell) -> None:
    """What was admitted before midnight belongs to that day, also if it ends after; the next day begins with nothing."""
    for turn in range(size(2, 20)):
        midnight = (datetime.now(UTC) + timedelta(days=turn + 1)).replace(hour=0, minute=0, second=0, microsecond=0)
        found = _let_a_day_end(clocked, wall, midnight, seed=SEED + turn)
    tell(found)


@pytest.fixture
def zoned(clocked: FaultyRouter) -> Iterator[FaultyRouter]:
    yield clocked
    in_zone(clocked, None)


def in_zone(router: FaultyRouter, zone: str | None) -> None:
    assert router.api("PATCH", "/v1/organization", json={"time_zone": zone}).status_code == 200


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("America/Santiago", "2027-09-05T04:00:00+00:00"),  # there is no 00:00 on that day
        ("America/Santiago", "2027-04-04T04:00:00+00:00"),  # the day before has 25 hours
        ("Australia/Lord_Howe", "2027-10-03T13:00:00+00:00"),  # it has 24 and a half
        ("Pacific/Kiritimati", "2027-02-28T10:00:00+00:00"),  # the first of March
    ][: size(2, 4)],
)
def test_a_day_of_a_zone_ends_under_load(
    zoned: FaultyRouter, wall: WallClock, tell: Tell, zone: str, midnight: str
) -> None:
    """As above, where clocks change."""
    router, begins = zoned, datetime.fromisoformat(midnight)
    assert begins.timestamp() == periods.begins_at(periods.day_of(begins.timestamp(), zone), zone)
    in_zone(router, zone)
    tell(_let_a_day_end(router, wall, begins, zone))


def test_the_zone_is_changed_under_load(zoned: FaultyRouter, wall: WallClock, tell: Tell) -> None:
    """East, west and back again, across the date line, while it is another date in each of three zones.

    No day of a key passes its limit, however often it is gone back to, and every call is there once.
    """
    router, limit = zoned, 500_000
    keys = [make_key(router, f"moves {number}", spend_limit_usd="3", spend_reset="daily") for number in range(2)]
    # What it may spend in all is three days' limits, by which `reckon` goes.
    tight = replace(make_key(router, "tight", spend_limit_usd="0.0005", spend_reset="daily"), limit_usd="0.0015")
    wall.set(datetime(2027, 6, 15, 10, 5, tzinfo=UTC).timestamp() - time.time())
    calls: list[Call] = []
    with Load(router, [*keys, tight], seed=SEED, clients=6, rate=12, slow=0.5) as load:
        for number in range(size(12, 200)):
            zone, resets_at = _THREE_DATES[number % len(_THREE_DATES)]
            in_zone(router, zone)
            calls += [call(router, key) for key in keys]
            load.wait_for(3)
            if number < 2 * len(_THREE_DATES):  # each day twice, the second time with nothing left of it
                tries = until_exceeded(router, tight)
                assert f'"resets_at":"{resets_at}"'.encode() in tries[-1].reply.body
                calls += tries
    in_zone(router, None)
    tell(reckon(router, [*load.calls, *calls], [*keys, tight], by_command=True))
    audit = Audit(router)
    sums: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    for row in audit.rows([*keys, tight]):
        sums[row.key_id][row.day] += row.cost_nanos
        assert abs((row.day - row.admitted_at.astimezone(UTC).date()).days) <= 1
    audit.close()
    assert all(set(days) == {date(2027, 6, day) for day in (14, 15, 16)} for days in sums.values())
    assert all(0 < nanos <= limit for nanos in sums[tight.id].values())


# At 10:05 UTC on the fifteenth; with when the day ends there.
_THREE_DATES = (
    ("Pacific/Kiritimati", "2027-06-16T10:00:00Z"),  # the sixteenth
    (None, "2027-06-16T00:00:00Z"),
    ("Pacific/Pago_Pago", "2027-06-15T11:00:00Z"),  # the fourteenth
    ("Asia/Kathmandu", "2027-06-15T18:15:00Z"),
)


def until_exceeded(router: FaultyRouter, key: Key) -> list[Call]:
    """Calls of a key, the last of which is refused for what was spent."""
    calls: list[Call] = []

    def exceeded() -> bool:
        calls.append(call(router, key, words=19))
        return calls[-1].reply.code == "spend_exceeded"

    eventually(exceeded, 60, "spend_exceeded")
    return calls


def _let_a_day_end(
    router: FaultyRouter, wall: WallClock, midnight: datetime, zone: str | None = None, *, seed: int = SEED
) -> Reckoned:
    """Under load, and with a call that is sent on the day that ends and answered on the one that begins."""
    keys = [make_key(router, f"day {number}", spend_limit_usd="30", spend_reset="daily") for number in range(3)]
    until_midnight = midnight.timestamp() - time.time()
    wall.set(until_midnight - 3_600)
    with ThreadPoolExecutor(1) as pool, Load(router, keys, seed=seed, clients=6, slow=1.0) as load:
        with limits_are_watched(router, keys):
            load.wait_for(5)
            over = pool.submit(call, router, keys[0], slow=_OVER_MIDNIGHT_SECONDS)
            eventually(lambda: _at_the_provider(router), 30, "a call that is in flight as the day ends")
            wall.set(midnight.timestamp() - time.time() - 2)
            eventually(lambda: time.time() + wall.offset_seconds > midnight.timestamp(), 10, "midnight")
            load.wait_for(20)
    calls = [*load.calls, over.result()]
    found = reckon(router, calls, keys, by_command=True)
    _compare_days(router, keys, midnight, zone, offset_seconds=wall.offset_seconds, over=over.result())
    return found


_OVER_MIDNIGHT_SECONDS = 8.0  # which is two seconds away once it has been seen


def _at_the_provider(router: FaultyRouter) -> bool:
    slow = f"slow={_OVER_MIDNIGHT_SECONDS:.3f}"
    return any(slow in attempt["marker"] and not attempt["finished"] for attempt in router.invoice()["attempts"])


def _compare_days(
    router: FaultyRouter,
    keys: list[Key],
    midnight: datetime,
    zone: str | None,
    *,
    offset_seconds: float,
    over: Call,
) -> None:
    seen = {attempt["marker"].rpartition(" ")[2]: attempt for attempt in router.invoice()["attempts"]}
    audit = Audit(router)
    sums: dict[tuple[str, date], int] = defaultdict(int)
    for row in audit.rows(keys):
        # The day is that of the counters' own moment: after the one that is shown, and before the provider hears of it.
        # What it heard of before the clock was set on to the last seconds of the day was on that day by either offset.
        sent_at = seen[name_of(row)]["at"] + offset_seconds
        earliest, latest = (periods.day_of(at, zone) for at in (row.admitted_at.timestamp(), sent_at))
        assert earliest <= row.day <= latest, f"admitted at {row.admitted_at}, sent at {sent_at}, of {row.day}"
        sums[row.key_id, row.day] += row.cost_nanos
    audit.close()
    begun = periods.day_of(midnight.timestamp(), zone)
    assert {day for _, day in sums} == {begun - timedelta(days=1), begun}
    one = seen[over.name]
    assert one["at"] + offset_seconds < midnight.timestamp() < one["ended_at"] + offset_seconds, "none was in flight"
    for key in keys:
        spend = router.key(key.id)["spend"]
        assert spend["period_start"] == midnight.isoformat().replace("+00:00", "Z")
        assert spend["spent_usd"] == money.to_usd(sums[key.id, begun])


def test_a_restart_with_another_date(clocked: FaultyRouter, wall: WallClock, tell: Tell) -> None:
    """A machine whose clock was wrong when it started: what was spent stays spent, on the day it was."""
    key = make_key(clocked, "restart", spend_limit_usd="0.001")
    calls = []
    for offset in (0, -86_400, 86_400, 0):
        wall.set(offset)
        clocked.kill_everything()
        clocked.start("proxy")
        clocked.wait_until_ready()
        calls += [call(clocked, key, words=19) for _ in range(5)]
    tell(reckon(clocked, calls, [key]))
    assert sum(made.reply.code == "spend_exceeded" for made in calls) > 0


def test_the_clock_is_really_set(clocked: FaultyRouter, wall: WallClock, tmp_path: Path) -> None:
    """Of this page's own tool: a step is seen by the proxy, and only by who goes by the wall."""
    key = make_key(clocked, "seen")
    wall.set(7_200)
    said = call(clocked, key).reply.headers["date"]
    shown = datetime.strptime(said, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert abs((shown - datetime.now(UTC)).total_seconds() - 7_200) < 120
