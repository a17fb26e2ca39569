"""Charges whose days begin in a time zone: on both storages, over midnight there and on days of 23 and 25 hours."""

from datetime import UTC, date, datetime
from pathlib import Path
from random import Random

import pytest
from counters_kit import DAY, NOON, TODAY, FakeClock, Home, Worker, batch_context, charge, kinds, on_both, row, together
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    Charge,
    Decision,
    Hold,
    KeyRow,
    OrganizationRefused,
    Seed,
    SpendExceeded,
    SpendHeld,
    SpendState,
    WorkerReplay,
)
from shared.counters.stored_row import RECENT
from shared.periods import begins_at

TOKYO, HONOLULU, SANTIAGO = "Asia/Tokyo", "Pacific/Honolulu", "America/Santiago"  # +9, -10, -4 or -3
AROUND = (None, TOKYO, HONOLULU, "Pacific/Kiritimati", "Asia/Kolkata")


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other")).register()


def put(home: Home, moment: str) -> None:
    home.clock.wall_now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def daily(key_id: str = "key", zone: str | None = TOKYO, *, limit: int = 100, bound: int = 100) -> Charge:
    return charge(key_id, limit=limit, reset="daily", bound=bound, zone=zone)


def day_of(answer: Decision) -> date:
    assert isinstance(answer, Admitted), answer
    return date.fromordinal(answer.day)


def spend_of(answer: Decision) -> SpendState:
    assert isinstance(answer, Admitted), answer
    assert answer.spend is not None
    return answer.spend


def test_it_works(home: Home, worker: Worker) -> None:
    """A day of Tokyo ends at 15:00 UTC, and the next one begins with nothing."""
    put(home, "2027-01-15T14:59:59.9")
    first = worker.ask(daily())
    assert day_of(first) == date(2027, 1, 15)
    assert (spend_of(first).period_start, spend_of(first).resets_on) == (date(2027, 1, 15), date(2027, 1, 16))
    assert kinds(worker.send(daily(bound=1))) == [SpendHeld]
    put(home, "2027-01-15T15:00:00")
    second = worker.ask(daily())
    assert day_of(second) == date(2027, 1, 16)
    assert spend_of(second)[:4] == (100, 0, 100, 0)
    worker.send(ends=[worker.end(day=first.day if isinstance(first, Admitted) else 0, held=100, cost=60)])
    assert worker.counters.rows(["key"])["key"].days == {TODAY: [60, 0], TODAY + 1: [0, 100]}


def test_zones_of_one_batch_do_not_touch_each_other(home: Home, worker: Worker) -> None:
    put(home, "2027-01-15T23:30")  # it is the 16th in Tokyo, still the 15th in Honolulu
    asked = [
        daily(bound=40),
        daily("other", HONOLULU, bound=40),
        daily(bound=40),
        charge("third", limit=100, reset="daily", bound=100),
        daily("other", HONOLULU, bound=70),
        daily(bound=40),
    ]
    worker.counters.publish(1, {"third": 1}, {})
    worker.counters.seed(1, [])
    answers = worker.send(*(one for one in asked if one.key_id != "third"))
    assert kinds(answers) == [Admitted, Admitted, Admitted, SpendHeld, SpendHeld]
    assert [day_of(answer) for answer in answers[:3]] == [date(2027, 1, 16), date(2027, 1, 15), date(2027, 1, 16)]
    rows = worker.counters.rows(["key", "other"])
    assert (rows["key"].days, rows["other"].days) == ({TODAY + 1: [0, 80]}, {TODAY: [0, 40]})


@pytest.mark.parametrize("zone", AROUND)
@pytest.mark.parametrize(
    ("reset", "start", "end"), [("weekly", "2027-01-10", "2027-01-17"), ("monthly", "2027-01-01", "2027-02-01")]
)
def test_weeks_and_months_begin_there(
    home: Home, worker: Worker, zone: str | None, reset: str, start: str, end: str
) -> None:
    asked = charge(limit=100, reset=reset, bound=60, zone=zone)
    ends = begins_at(date.fromisoformat(end), zone)
    home.clock.wall_now = begins_at(date.fromisoformat(start), zone)
    assert spend_of(worker.ask(asked))[:4] == (100, 0, 60, 40)
    home.clock.wall_now = ends - 0.5
    assert kinds(worker.send(asked)) == [SpendHeld]
    home.clock.wall_now = ends
    found = spend_of(worker.ask(asked))
    assert (found[:4], found.period_start) == ((100, 0, 60, 40), date.fromisoformat(end))


def test_a_day_without_a_midnight_and_one_with_an_hour_twice(home: Home, worker: Worker) -> None:
    put(home, "2026-09-06T03:59:59")
    assert day_of(worker.ask(daily(zone=SANTIAGO, bound=10))) == date(2026, 9, 5)
    put(home, "2026-09-06T04:00")
    assert day_of(worker.ask(daily(zone=SANTIAGO, bound=10))) == date(2026, 9, 6)
    for moment in ("2026-04-05T02:30", "2026-04-05T03:30", "2026-04-05T03:59:59"):  # 23:30 twice
        put(home, moment)
        assert day_of(worker.ask(daily("other", SANTIAGO, bound=10))) == date(2026, 4, 4)
    put(home, "2026-04-05T04:00")
    assert day_of(worker.ask(daily("other", SANTIAGO, bound=10))) == date(2026, 4, 5)


def test_a_clock_that_steps_back_over_midnight_opens_no_second_day(home: Home, worker: Worker) -> None:
    for moment in ("14:59:59", "15:00:01", "14:59:59", "15:00:01"):
        put(home, f"2027-01-15T{moment}")
        answer = worker.ask(daily())
        if isinstance(answer, Admitted):
            worker.send(ends=[worker.end(day=answer.day, held=100, cost=100)])
    row = worker.counters.rows(["key"])["key"]
    assert (row.days, row.lifetime) == ({TODAY: [100, 0], TODAY + 1: [100, 0]}, 200)


def test_the_budget_of_an_organisation_begins_there_too(home: Home) -> None:
    worker = Worker(home.live(1, "key", "other", tracked=["org"])).register()
    put(home, "2027-01-15T14:59:59")
    shared = together(limit=100, reset="daily")
    first, second = (charge(key, bound=60, together=shared, zone=TOKYO) for key in ("key", "other"))
    assert kinds(worker.send(first, second)) == [Admitted, OrganizationRefused]
    put(home, "2027-01-15T15:00")
    (answer,) = worker.send(second)
    assert isinstance(answer, Admitted)
    assert answer.organization_spend is not None
    assert answer.organization_spend[:4] == (100, 0, 60, 40)
    assert worker.counters.rows(["org"])["org"].days == {TODAY: [0, 60], TODAY + 1: [0, 60]}


def test_a_batch_again_and_a_dead_worker_find_the_days(home: Home, worker: Worker) -> None:
    """Whose answer was lost is told the day of then; what was admitted and never begun is taken back from it."""
    put(home, "2027-01-15T14:59:59")
    batch = worker.batch([daily(bound=5)._replace(seq=7), charge("other", bound=3, seq=8)])
    before = worker.counters.apply_batch(batch)
    put(home, "2027-01-15T15:00:01")
    later = worker.batch([daily(bound=5)._replace(seq=9), charge("other", bound=3, seq=10)])
    assert [kinds([answer]) for answer in worker.counters.apply_batch(batch)] == [[Admitted], [Admitted]]
    assert [answer.day for answer in worker.counters.apply_batch(batch) if isinstance(answer, Admitted)] == [
        TODAY,
        TODAY,
    ]
    assert [answer.day for answer in before if isinstance(answer, Admitted)] == [TODAY, TODAY]
    worker.number += 1
    later = worker.batch([daily(bound=5)._replace(seq=9), charge("other", bound=3, seq=10)])
    worker.counters.apply_batch(later)
    assert [a.day for a in worker.counters.apply_batch(later) if isinstance(a, Admitted)] == [TODAY + 1, TODAY]
    state = worker.counters.worker_state("w1")
    assert state is not None
    found = {admitted.seq: admitted.hold for admitted in state.last_admitted}
    assert found == {9: Hold("key", TODAY + 1, 5, 1, ""), 10: Hold("other", TODAY, 3, 1, "")}


def test_there_and_back_again_opens_a_day_once(home: Home, worker: Worker) -> None:
    """A change to the east begins tomorrow's budget at once, which is not there again tomorrow; one back, today's."""
    put(home, "2027-01-15T20:00")
    for _ in range(3):
        for zone in (None, TOKYO, HONOLULU):
            answer = worker.ask(daily(zone=zone))
            if isinstance(answer, Admitted):
                worker.send(ends=[worker.end(day=answer.day, held=100, cost=100)])
    row = worker.counters.rows(["key"])["key"]
    assert row.days == {TODAY: [100, 0], TODAY + 1: [100, 0]}, "never more than the limit on a day"
    put(home, "2027-01-16T12:00")
    assert kinds(worker.send(daily(zone=None, bound=1))) == [SpendExceeded], "it was spent the evening before"
    put(home, "2027-01-17T00:00")
    assert kinds(worker.send(daily(zone=None))) == [Admitted]


def test_rows_that_change_with_every_batch_are_read_again(home: Home, worker: Worker) -> None:
    """By two workers in turn, while the day there is another one than in UTC: what each wrote the other finds."""
    put(home, "2027-01-15T20:00")
    other = Worker(home.connect(), "w2").register()
    for number in range(6):
        answer = (worker, other)[number % 2].ask(daily(limit=1_000, bound=10))
        assert spend_of(answer)[1:3] == (0, 10 * (number + 1))
        assert day_of(answer) == date(2027, 1, 16)


@pytest.mark.parametrize(
    ("moment", "zone", "later"), [("20:00", TOKYO, 1), ("06:00", HONOLULU, -1), ("12:00", None, 0)]
)
def test_what_batches_change_comes_first_in_a_row(moment: str, zone: str | None, later: int) -> None:
    """So that the rest of it is made anew, and written, only when it is another one: also where it is another day."""
    clock, one = FakeClock(), row(spent=7)
    one.days[TODAY - 20] = [5, 0]
    clock.wall_now = datetime.fromisoformat(f"2027-01-15T{moment}").replace(tzinfo=UTC).timestamp()
    here = batch_context(clock).in_zone(zone) if zone else batch_context(clock)
    stored = []
    for _ in range(3):
        one.admitted(daily(zone=zone, bound=1), here)
        stored.append(one.encode(TODAY))
        assert KeyRow.decode(stored[-1]).days == one.days
    assert one.days[TODAY + later][1] == 3
    assert len({data[RECENT.size :] for data in stored[1:]}) == 1
    assert one.refresh(stored[-1])


@pytest.mark.parametrize("ahead", [2, 60])
@pytest.mark.parametrize("how", ["seed", "end", "replay"])
def test_a_day_to_come_takes_the_place_of_none_that_was(home: Home, how: str, ahead: int) -> None:
    """The ledger has one of a time when a clock was wrong; what was spent on the days before it counts on."""
    before, late = {TODAY - 3: 5_000, TODAY: 1_000}, {TODAY + ahead: 3_000}
    counters = home.connect()
    counters.begin_generation(1, {"w1": 0})
    counters.publish(1, {"key": 1}, {"org": 1})
    counters.seed(1, [Seed("key", 0, {**before, **late} if how == "seed" else before)])
    worker = Worker(counters)
    ends = [] if how == "seed" else [worker.end(day=TODAY + ahead, cost=3_000)]
    replay = WorkerReplay("w1", 1, 1, ends, [Hold("key", TODAY + ahead, 7)]) if how == "replay" else None
    counters.join(replay or WorkerReplay("w1", 1, 0))
    counters.go_live(1)
    if how == "end":
        worker.send(ends=ends)
    held = 7 if how == "replay" else 0
    (row,) = home.connect().rows(["key"]).values()
    assert row.days == {TODAY - 3: [5_000, 0], TODAY: [1_000, 0], TODAY + ahead: [3_000, held]}
    asked = charge(limit=6_001, reset="weekly", bound=1)
    assert kinds([worker.ask(asked), worker.ask(asked)]) == [Admitted, SpendHeld]
    (row,) = home.connect().rows(["key"]).values()
    assert row.days == {TODAY - 3: [5_000, 0], TODAY: [1_000, 1], TODAY + ahead: [3_000, held]}


def test_three_policies_in_one_batch_are_one_limit(home: Home, worker: Worker) -> None:
    """There and back again while requests wait: what was held on the other day counts in the month, and not today."""
    put(home, "2027-01-15T20:00")
    for key_id, reset, expected in (
        ("key", "monthly", [Admitted, Admitted, SpendHeld]),
        ("other", "daily", [Admitted, Admitted, Admitted, SpendHeld]),
    ):
        zones = (TOKYO, HONOLULU, TOKYO, TOKYO)[: len(expected)]
        asked = [
            charge(key_id, org=f"org of {key_id}", org_version=2 + at, limit=100, reset=reset, bound=40, zone=zone)
            for at, zone in enumerate(zones)
        ]
        worker.counters.publish(1, {}, {f"org of {key_id}": 1})
        assert kinds(worker.send(*asked)) == expected
    bare = charge("key", limit=None, bound=10, org="org of key", org_version=9, zone=HONOLULU)
    daily_again = [daily("key", zone, limit=100, bound=bound) for zone, bound in ((TOKYO, 50), (TOKYO, 20))]
    asked = [one._replace(org_id="org of key", org_version=8 + 2 * at) for at, one in enumerate(daily_again)]
    assert kinds(worker.send(asked[0], bare, asked[1])) == [Admitted, Admitted, SpendHeld]
    asked = [one._replace(bound_nanos=1, org_version=11 + 2 * at) for at, one in enumerate(asked)]
    assert kinds(worker.send(asked[0], bare._replace(org_version=12), asked[1])) == [Admitted, Admitted, Admitted]


def told(home: Home, seed: int) -> list[Decision]:
    """A story of charges in several zones around their midnights, with ends in between."""
    source = Random(seed)
    keys = {f"key{number}": AROUND[number] for number in range(len(AROUND))}
    worker = Worker(home.live(1, *keys, tracked=["org"])).register()
    home.clock = clock = FakeClock()
    worker.counters = home.connect()
    clock.wall_now = NOON - DAY / 2
    answers: list[Decision] = []
    running: list[tuple[str, int, int]] = []
    for _ in range(40):
        asked = []
        for key_id in source.choices(sorted(keys), k=source.randint(1, 4)):
            reset, bound = source.choice(("never", "daily", "weekly", "monthly")), source.randint(0, 30)
            shared = together(None, 400, source.choice(("daily", "monthly"))) if source.random() < 0.4 else None
            limit, rpm = source.choice((None, 60, 200)), source.choice((None, None, 3))
            asked.append(
                charge(key_id, rpm=rpm, limit=limit, reset=reset, bound=bound, together=shared, zone=keys[key_id])
            )
        ending = [running.pop() for _ in range(min(len(running), source.randint(0, 3)))]
        ends = [worker.end(key_id, day=day, held=held, cost=source.randint(0, held)) for key_id, day, held in ending]
        found = worker.send(*asked, ends=ends)
        running += [
            (one.key_id, answer.day, one.bound_nanos)
            for one, answer in zip(asked, found, strict=True)
            if isinstance(answer, Admitted)
        ]
        answers += found
        clock.pass_by(source.choice((0.0, 30.0, 1_700.0, 5_400.0, 40_000.0)))
    return answers


@pytest.mark.parametrize("seed", range(12))
def test_both_storages_answer_alike(tmp_path: Path, redis_server: RedisServer, seed: int) -> None:
    redis_server.empty()
    assert on_both(tmp_path, redis_server.url, told, seed) >= {Admitted, OrganizationRefused}
