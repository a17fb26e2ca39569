"""The time is the server's, also for days of a zone, whatever clock a machine has."""

import time
from types import SimpleNamespace

import pytest
from counters_kit import DAY, TODAY, Home, Worker, charge, kinds, money
from redis_kit import RedisServer

from shared.counters import Admitted, Counters, CountersUnavailable, SpendExceeded, connect
from shared.periods import LocalDay, day_of


@pytest.fixture
def counters(server_home: Home) -> Counters:
    return server_home.live(1, "key")


@pytest.mark.usefixtures("counters")  # they are made, by another clock
@pytest.mark.parametrize("wrong_by", [-3 * DAY, -DAY, -3_600, 3_600, DAY, 3 * DAY])
@pytest.mark.parametrize("asked_before", [False, True])
def test_the_day_of_a_zone_is_that_of_the_servers_clock(
    server: RedisServer,
    server_home: Home,
    monkeypatch: pytest.MonkeyPatch,
    wrong_by: float,
    asked_before: bool,
) -> None:
    """Also of a machine whose own is wrong, or stood still while it slept: held, told and ended on one day."""
    zone, counters = "Asia/Tokyo", connect(server.url)
    counters.attach(server_home.shared_state)
    own = Worker(counters).register()
    if asked_before:
        own.send(charge())
    # Its own midnights are other moments than the server's.
    own_clock = SimpleNamespace(time=lambda: time.time() + wrong_by, monotonic=lambda: time.monotonic() + wrong_by)
    monkeypatch.setattr("shared.counters.redis.counters.time", own_clock)
    today = day_of(time.time(), zone)
    spent = own.end(day=today.toordinal(), cost=30)
    (answer,) = own.send(charge(limit=100, reset="daily", bound=40, zone=zone), ends=[spent])
    assert isinstance(answer, Admitted)
    assert answer.spend is not None
    assert (answer.day, answer.spend.period_start) == (today.toordinal(), today)
    assert answer.spend[1:3] == (30, 40), "by the sums of that day, and what had ended was booked once"
    (row,) = counters.rows(["key"]).values()
    assert row.days == {today.toordinal(): [30, 40]}
    own.send(ends=[own.end(day=answer.day, held=40, cost=70)])
    assert kinds(own.send(charge(limit=100, reset="daily", bound=1, zone=zone))) == [SpendExceeded]
    counters.close()


def test_a_server_whose_clock_jumps_from_day_to_day_is_left(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is admitted by it, and nothing that has ended is lost: the batch is asked again one day."""
    worker = Worker(counters).register()
    batch = worker.batch([charge(limit=100, bound=1, zone="Asia/Tokyo")], [worker.end(day=TODAY, cost=7)])
    monkeypatch.setattr("shared.counters.redis.codec.local_day", lambda zone, now: LocalDay(TODAY, 0, 1))
    with pytest.raises(CountersUnavailable, match="clock"):
        worker.counters.apply_batch(batch)
    monkeypatch.undo()
    assert worker.counters.rows(["key"])["key"].lifetime == 0
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (7, 1, 7)
