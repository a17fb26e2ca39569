"""A server that stands still, is away, is full or refuses: unavailable, in time, and with nothing half done."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds, money
from redis_kit import RedisServer, Wire, until

from shared.counters import Admitted, Batch, CountersLost, CountersUnavailable, connect
from shared.counters.redis.link import ANSWER_SECONDS, FAILURES


@pytest.fixture
def wire(server: RedisServer) -> Iterator[Wire]:
    wire = Wire(server.socket)
    yield wire
    wire.close()


@pytest.fixture(params=["socket", "wire"])
def home(request: pytest.FixtureRequest, server: RedisServer, wire: Wire, tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, server.url if request.param == "socket" else wire.url)
    yield home
    home.close()


@pytest.fixture
def worker(home: Home) -> Worker:
    return Worker(home.live(1, "key", "other")).register()


def refusal(worker: Worker, batch: Batch) -> CountersUnavailable:
    """How a batch fails that cannot be applied."""
    with pytest.raises(CountersUnavailable) as caught:
        worker.counters.apply_batch(batch)
    assert not isinstance(caught.value, CountersLost)
    return caught.value


def test_it_works(worker: Worker) -> None:
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]


def test_a_server_that_stands_still_is_told_in_time_and_then_at_once(server: RedisServer, worker: Worker) -> None:
    batch = worker.batch([charge(limit=100, bound=60)], [worker.end("other", day=TODAY, cost=5)])
    server.freeze()
    for _ in range(FAILURES):
        begun = time.monotonic()
        assert refusal(worker, batch).in_doubt
        assert ANSWER_SECONDS * 0.9 < time.monotonic() - begun < ANSWER_SECONDS * 3
    begun = time.monotonic()
    for _ in range(100):
        assert not refusal(worker, batch).in_doubt
    assert time.monotonic() - begun < ANSWER_SECONDS
    server.thaw()
    answers = []

    def answered() -> bool:
        with contextlib.suppress(CountersUnavailable):
            answers.extend(worker.counters.apply_batch(batch))
        return bool(answers)

    until(answered)
    assert time.monotonic() - begun < 3, "a probe a second"
    assert kinds(answers) == [Admitted], "the same batch, whichever of its copies came first"
    assert money(worker.counters) == (0, 60, 0)
    assert money(worker.counters, "other") == (5, 0, 5)


def test_one_probe_a_second_goes_out(server: RedisServer, worker: Worker) -> None:
    server.freeze()
    batch = worker.batch([charge()])
    for _ in range(FAILURES):
        refusal(worker, batch)
    begun = time.monotonic()
    slow = 0
    while time.monotonic() - begun < 2.9:
        before = time.monotonic()
        refusal(worker, batch)
        slow += time.monotonic() - before > ANSWER_SECONDS / 2
        time.sleep(0.01)
    assert 1 <= slow <= 3


def test_a_server_that_is_away_is_in_no_doubt(server: RedisServer, wire: Wire, worker: Worker) -> None:
    batch = worker.batch([charge(limit=100, bound=60)])
    server.process.kill()
    server.process.wait()
    wire.close()
    refusal(worker, batch)  # over the connection that there was
    for _ in range(3):
        assert not refusal(worker, batch).in_doubt
    server.start()


@pytest.mark.parametrize("home", ["wire"], indirect=True)
def test_a_batch_whose_answer_was_lost_is_in_doubt_and_the_same_again(home: Home, wire: Wire, worker: Worker) -> None:
    charges = [charge(limit=100, bound=60, seq=1), charge(limit=100, bound=60, seq=2)]
    batch = worker.batch(charges, [worker.end("other", day=TODAY, cost=5)])
    for _ in range(3):
        wire.cut_answers = 1
        assert refusal(worker, batch).in_doubt
        assert wire.cut_answers == 0
    assert money(home.connect()) == (0, 60, 0)
    answers = worker.counters.apply_batch(batch)
    assert [isinstance(answer, Admitted) for answer in answers] == [True, False]
    assert money(worker.counters) == (0, 60, 0)
    assert money(worker.counters, "other") == (5, 0, 5)
    worker.number += 1
    assert kinds(worker.send(charge(limit=100, bound=40))) == [Admitted]


@pytest.mark.parametrize("home", ["wire"], indirect=True)
def test_a_slow_way_to_it_costs_its_time_and_nothing_else(home: Home, wire: Wire, worker: Worker) -> None:
    wire.delay_seconds = ANSWER_SECONDS * 0.6
    for _ in range(3):
        assert kinds(worker.send(charge(limit=100, bound=10))) == [Admitted]
    wire.delay_seconds = ANSWER_SECONDS * 1.2
    batch = worker.batch([charge(limit=100, bound=10)])
    assert refusal(worker, batch).in_doubt
    wire.delay_seconds = 0
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (0, 40, 0)


@pytest.mark.parametrize("home", ["wire"], indirect=True)
def test_other_changes_whose_answer_was_lost_are_the_same_again(home: Home, wire: Wire, worker: Worker) -> None:
    counters = worker.counters
    before = counters.status().sequence
    acts: list[Callable[[], None]] = [
        lambda: counters.register("w2", 1),
        lambda: counters.publish(1, {"key": 7}, {"org": 3}),
        lambda: counters.go_live(1),
    ]
    for act in acts:
        wire.cut_answers = 1
        with pytest.raises(CountersUnavailable) as lost:
            act()
        assert lost.value.in_doubt
        act()
    assert counters.rows(["key"])["key"].version == 7
    assert counters.status().sequence >= before


def test_a_server_without_room_refuses_and_does_nothing(server: RedisServer, home: Home, worker: Worker) -> None:
    batch = worker.batch(
        [charge(limit=100, bound=60, org="new", org_version=2, loaded_in=1)], [worker.end(day=TODAY, cost=5)]
    )
    before = worker.counters.status()
    server.tell("CONFIG", "SET", "maxmemory", 1)
    for _ in range(2):
        failure = refusal(worker, batch)
        assert str(failure) == "OutOfMemoryError"
        assert not failure.in_doubt
    assert worker.counters.status() == before
    assert (money(worker.counters), worker.counters.org_version("new")) == ((0, 0, 0), 0)
    server.tell("CONFIG", "SET", "maxmemory", 0)
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (5, 60, 5)


def test_new_counters_without_room_are_all_or_nothing(server: RedisServer, home: Home, worker: Worker) -> None:
    server.tell("CONFIG", "SET", "maxmemory", 1)
    with contextlib.suppress(CountersUnavailable):
        worker.counters.begin_generation(2, {"w1": 3})
    server.tell("CONFIG", "SET", "maxmemory", 0)
    status = home.connect().status()
    assert (status.generation, tuple(status.missing)) in ((1, ()), (2, ("w1",)))
    assert status.generation == home.shared_state.generation


@pytest.mark.parametrize("code", ["MISCONF", "NOREPLICAS"])
def test_a_server_that_takes_no_writes_is_named_by_its_own_word(server: RedisServer, worker: Worker, code: str) -> None:
    batch = worker.batch([charge(limit=100, bound=60)])
    if code == "NOREPLICAS":
        server.tell("CONFIG", "SET", "min-replicas-to-write", 1)
    else:
        server.tell("CONFIG", "SET", "save", "3600 1")
        server.folder.joinpath("dump.rdb").mkdir()
        with contextlib.suppress(Exception):
            server.tell("BGSAVE")
        until(lambda: server.fact("persistence", "rdb_last_bgsave_status") == "err")
    failure = refusal(worker, batch)
    assert (str(failure), failure.in_doubt) == (code, False)
    server.tell("CONFIG", "SET", "min-replicas-to-write", 0)
    server.tell("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (0, 60, 0)
    server.tell("CONFIG", "SET", "save", "")


@pytest.mark.parametrize("given", ["", ":wrong@", "nobody:pa%40ss@", ":pa%40ss@"])
def test_passwords(server: RedisServer, home: Home, worker: Worker, given: str) -> None:
    server.tell("CONFIG", "SET", "requirepass", "pa@ss")
    scheme, _, rest = home.url.partition("://")
    counters = connect(f"{scheme}://{given}{rest}", clock=home.clock)
    if given == ":pa%40ss@":
        assert counters.check()
    else:
        with pytest.raises(CountersUnavailable, match="AuthenticationError") as caught:
            counters.check()
        assert not caught.value.in_doubt
        assert "wrong" not in str(caught.value)
    counters.close()
    with server.client(password="pa@ss") as client:
        client.config_set("requirepass", "")
