"""What a connection keeps from one batch to the next: never anything that another transaction has changed since."""

import sqlite3
from collections.abc import Callable

import pytest
from counters_kit import TODAY, FakeClock, Home, Worker, charge, kind, money, used
from hypothesis import given
from hypothesis import strategies as st

from shared.counters import (
    Admitted,
    CountersLost,
    CountersUnavailable,
    KeyRow,
    Rebuilding,
    Seed,
    SpendHeld,
    Stale,
    WorkerReplay,
    last_batch,
    period_of_day,
    transaction,
)
from shared.counters.sqlite import SqliteCounters
from shared.counters.window import WINDOW_SECONDS, Window


@pytest.fixture
def worker(home: Home) -> Worker:
    home.live(1, "key", "other")
    return Worker(home.connect()).register()


@pytest.fixture
def of_a_file(home: Home) -> None:
    """For what can only be seen on a file."""
    if not home.url.startswith("sqlite"):
        pytest.skip("a server keeps nothing with a connection")


def statements(worker: Worker, act: Callable[[], object]) -> list[str]:
    """What SQLite is asked meanwhile, without what it begins with."""
    assert isinstance(worker.counters, SqliteCounters)
    found: list[str] = []
    connection = worker.counters.database._session().connection
    connection.set_trace_callback(lambda sql: found.append(sql.split()[0]))
    act()
    connection.set_trace_callback(None)
    return found


@pytest.mark.usefixtures("of_a_file")
def test_it_works(worker: Worker) -> None:
    worker.ask(charge(bound=5))
    asked = statements(worker, lambda: worker.ask(charge(bound=7)))
    assert asked == ["BEGIN", "PRAGMA", "UPDATE", "UPDATE", "COMMIT"]
    assert money(worker.counters) == (0, 12, 0)


def test_what_another_worker_holds_is_seen(home: Home, worker: Worker) -> None:
    other = Worker(home.connect(), "w2").register()
    for _ in range(3):
        assert kind(worker.ask(charge(limit=100, bound=10))) is Admitted
        assert kind(other.ask(charge(limit=100, bound=10))) is Admitted
    assert kind(worker.ask(charge(limit=65, bound=10))) is SpendHeld
    assert money(home.connect()) == (0, 60, 0)


def test_an_edit_is_seen_whoever_tells_it(home: Home, worker: Worker) -> None:
    worker.ask(charge())
    home.connect().publish(1, {"key": 2}, {})
    assert kind(worker.ask(charge(version=1))) is Stale
    worker.counters.publish(1, {"key": 3}, {})  # on the worker's own connection
    assert kind(worker.ask(charge(version=2))) is Stale
    home.connect().publish(1, {}, {"org": 2})
    assert kind(worker.ask(charge(version=3, org_version=1))) is Stale
    worker.counters.publish(1, {}, {"org": 3})
    assert kind(worker.ask(charge(version=3, org_version=2))) is Stale
    assert kind(worker.ask(charge(version=3, org_version=3))) is Admitted


def test_a_seed_on_the_same_connection_is_seen(home: Home, worker: Worker) -> None:
    home.connect().publish(1, {"new": 1}, {})
    worker.ask(charge("new", bound=1))
    worker.counters.seed(1, [Seed("new", 90, {TODAY: 90})])
    worker.ask(charge("new", bound=2))
    assert money(home.connect(), "new") == (90, 3, 90)


def test_a_rebuild_is_seen(home: Home, worker: Worker) -> None:
    worker.ask(charge(rpm=5))
    writer = home.connect()
    writer.begin_generation(2, {"w1": 0})
    with pytest.raises(CountersLost, match="the generation is another one"):
        worker.ask(charge(rpm=5))
    again = Worker(worker.counters, "w3", generation=2).register()
    assert kind(again.ask(charge(rpm=5, loaded_in=2))) is Rebuilding
    writer.go_live(2)
    assert kind(again.ask(charge(rpm=5, loaded_in=2))) is Admitted


def test_a_worker_that_was_taken_out_is_refused(home: Home, worker: Worker) -> None:
    worker.ask(charge())
    assert home.connect().close_worker(WorkerReplay("w1", 1, 0))
    with pytest.raises(CountersLost, match="the worker is not known"):
        worker.ask(charge())


@pytest.mark.usefixtures("of_a_file")
def test_what_was_undone_is_not_kept(home: Home, worker: Worker) -> None:
    worker.ask(charge(bound=5, rpm=9))
    with sqlite3.connect(home.data_dir / "counters.db") as connection:
        connection.execute("CREATE TRIGGER t BEFORE UPDATE OF batch ON process BEGIN SELECT RAISE(ABORT, 'no'); END")
    for _ in range(2):
        with pytest.raises(CountersUnavailable):
            worker.ask(charge(bound=7, rpm=9))
    with connection:
        connection.execute("DROP TRIGGER t")
    connection.close()
    worker.ask(charge(bound=11, rpm=9))
    assert (money(home.connect()), used(home.connect())) == ((0, 16, 0), 2)


def test_a_batch_that_does_not_follow_leaves_nothing_to_go_by(home: Home, worker: Worker) -> None:
    worker.ask(charge(bound=5))
    worker.number += 1
    with pytest.raises(CountersLost, match="batches are missing"):
        worker.ask(charge(bound=7))
    worker.number -= 1
    assert worker.counters.apply_batch(worker.batch()) == []
    assert money(home.connect()) == (0, 5, 0)


def test_two_workers_on_one_connection_do_not_answer_for_each_other(worker: Worker) -> None:
    other = Worker(worker.counters, "w2").register()
    for number in range(1, 4):
        assert (worker.number, other.number) == (number - 1, number - 1)
        worker.ask(charge(bound=1))
        other.ask(charge(bound=1))
    assert money(worker.counters) == (0, 6, 0)


@pytest.mark.usefixtures("of_a_file")
def test_no_more_is_kept_than_said(home: Home, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(worker.counters, SqliteCounters)
    monkeypatch.setattr(transaction, "MAX_CACHED_ROWS", 8)
    for number in range(20):
        worker.ask(charge(f"key{number}", bound=1, loaded_in=1))
        worker.ask(charge("used", bound=1, loaded_in=1))
    kept = worker.counters.database._session().cache.rows
    assert len(kept) == 8
    assert [number for number in range(20) if kept.find(f"key{number}")] == list(range(13, 20))
    worker.ask(charge("key0", bound=1, loaded_in=1))
    assert money(worker.counters, "key0") == (0, 2, 0)
    assert money(worker.counters, "used") == (0, 20, 0)


@pytest.mark.usefixtures("of_a_file")
def test_an_end_reads_nothing_again(worker: Worker) -> None:
    assert isinstance(worker.counters, SqliteCounters)
    for number in range(100):
        worker.ask(charge(f"key{number}", bound=2, loaded_in=1))
    said: list[str] = []
    worker.counters.database._session().connection.set_trace_callback(said.append)
    for number in range(100):
        worker.send(ends=[worker.end(f"key{number}", day=TODAY, held=2, cost=1)])
    assert [sql for sql in said if "FROM key_row" in sql] == []
    assert len([sql for sql in said if sql.startswith("UPDATE key_row")]) == 100
    assert {money(worker.counters, f"key{number}") for number in range(100)} == {(1, 0, 1)}


# A row that is used again and again


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["hold", "end", "take back", "admit", "add", "tokens", "store"]),
        st.integers(0, 40),
        st.integers(0, 99),
    ),
    max_size=40,
)


def happen(row: KeyRow, event: str, back: int, amount: int, now: int) -> None:
    if event == "hold":
        row.hold(TODAY - back % 3, amount)
    elif event == "end":
        row.end(TODAY - back % 40, amount, amount)
    elif event == "take back":
        row.window.add(now - back % 4, -1)
    elif event == "admit":
        row.window.acquire(now, 10**6)
    elif event == "add":
        row.window.add(now - back, 1 + amount)
    elif event == "tokens":
        row.count_tokens(now - back, 50 - amount)


def weighing(row: KeyRow) -> dict[int, int]:
    """Tokens by second, but those that were too old when the last request was counted."""
    oldest = row.window.last[0] - WINDOW_SECONDS
    return {} if row.tokens is None else {at: tokens for at, tokens in row.tokens.buckets.items() if at >= oldest}


@given(EVENTS, st.sampled_from(["never", "daily", "weekly", "monthly"]))
def test_a_row_that_was_stored_before_is_stored_as_it_is_now(events: list[tuple[str, int, int]], reset: str) -> None:
    row, period, now = KeyRow.new(), period_of_day(reset, TODAY), 1_000
    for event, back, amount in events:
        now += back % 3
        happen(row, event, back, amount, now)
        row.encode(TODAY)
        fresh = KeyRow.decode(row.encode(TODAY))
        kept = {day: entry for day, entry in row.days.items() if day > TODAY - 37 or entry[1]}
        assert (fresh.lifetime, fresh.days, fresh.window.buckets) == (row.lifetime, kept, row.window.buckets)
        assert weighing(fresh) == weighing(row)
        assert fresh.tokens is None or fresh.tokens.buckets == weighing(row), "and none that has ceased to weigh"
        assert row.sums(period) == KeyRow(1, row.lifetime, row.days, {}, seeded=True).sums(period)
        assert row.window.count(now) == Window(dict(row.window.buckets)).count(now)


@given(EVENTS, EVENTS, st.integers(0, 2))
def test_a_row_that_others_changed_is_followed_or_read_anew(
    events: list[tuple[str, int, int]], others: list[tuple[str, int, int]], seconds: int
) -> None:
    mine, now, period = KeyRow.new(), 1_000, period_of_day("monthly", TODAY)
    for event in events:
        happen(mine, *event, now)
    theirs = KeyRow.decode(mine.encode(TODAY))
    mine.sums(period)
    theirs.version, theirs.seeded = 7, True
    for event in others:
        happen(theirs, *event, now + seconds)
    data = theirs.encode(TODAY)
    if mine.refresh(data):
        fresh = KeyRow.decode(data)
        assert (mine.version, mine.seeded, mine.lifetime) == (fresh.version, fresh.seeded, fresh.lifetime)
        assert mine.window.buckets == fresh.window.buckets
        assert weighing(mine) == weighing(fresh)
        assert mine.window.count(now + seconds) == fresh.window.count(now + seconds)
        assert mine.sums(period) == fresh.sums(period)
        assert mine.encode(TODAY) == data
    else:
        # A row that is read does not know that yesterday came first in it.
        assert seconds or others or any(back % 3 == 1 for _, back, _ in events)


@pytest.mark.parametrize("reset", ["never", "daily", "monthly"])
def test_sums_go_along_with_what_is_booked(reset: str) -> None:
    row, period = KeyRow.new(), period_of_day(reset, TODAY)
    assert row.sums(period) == (0, 0)
    row.hold(TODAY, 50)
    assert row.sums(period) == (0, 50)
    row.end(TODAY, 20, 7)
    assert row.sums(period) == (7, 30)
    row.seed(Seed("key", 100, {TODAY: 100}))
    assert row.sums(period) == (107, 30)
    assert row.sums(period_of_day("daily", TODAY + 1)) == (0, 0)
    assert row.sums(period) == (107, 30)


def test_another_second_is_not_followed() -> None:
    mine = KeyRow.new()
    mine.window.acquire(1_000, 10)
    theirs = KeyRow.decode(mine.encode(TODAY))
    theirs.window.acquire(1_100, 10)
    assert theirs.window.buckets == {1_100: 1}
    assert not mine.refresh(theirs.encode(TODAY))
    assert not mine.refresh(theirs.encode(TODAY + 1))


def test_what_changed_in_this_second_is_followed() -> None:
    mine = KeyRow.new()
    mine.hold(TODAY - 1, 3)
    mine.hold(TODAY, 5)
    mine.window.acquire(1_000, 10)
    theirs = KeyRow.decode(mine.encode(TODAY))
    theirs.hold(TODAY, 50)
    theirs.window.acquire(1_000, 10)
    assert mine.refresh(theirs.encode(TODAY))
    assert (mine.days, mine.window.buckets) == ({TODAY - 1: [0, 3], TODAY: [0, 55]}, {1_000: 2})
    theirs.hold(TODAY - 1, 1)
    assert not mine.refresh(theirs.encode(TODAY))
    assert not KeyRow.new().refresh(theirs.encode(TODAY))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "\u00e4\n"]), st.integers(0, 2**53 - 1)), max_size=50))
def test_whom_a_batch_admitted_is_told_in_order(asked: list[tuple[str, int]]) -> None:
    charges = [charge(key, bound=nanos, seq=100 + at) for at, (key, nanos) in enumerate(asked)]
    admitted: dict[str, list[int]] = {}
    for index in range(0, len(charges), 2):
        admitted.setdefault(charges[index].key_id, []).append(index)
    decided = [Admitted(TODAY, 0)] * len(charges)
    for tracked, org_id in ((["org"], "org"), (["another"], ""), ([], "")):
        data = last_batch.encode(FakeClock().moment, charges, decided, admitted, tracked)
        assert {one.hold.org_id for one in last_batch.held(data)} <= {org_id}
    told = [(one.seq, one.hold.key_id, one.hold.nanos) for one in last_batch.held(data)]
    assert told == [(one.seq, one.key_id, one.bound_nanos) for one in charges[::2]]
    assert len(data) % 128 == 0
