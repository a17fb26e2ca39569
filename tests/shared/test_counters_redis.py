"""A server that is not the one that was left, though its data may be, is told from it; so is data that is older."""

import contextlib
import itertools
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge, kinds, money
from redis_kit import RedisServer, Wire, until

from shared.counters import Admitted, Counters, CountersLost, CountersUnavailable, Seed, connect
from shared.counters.redis.script import META, PREFIX
from shared.money import MAX_NANOS


@pytest.fixture
def home(server_home: Home) -> Home:
    return server_home


@pytest.fixture
def counters(home: Home) -> Counters:
    return home.live(1, "key")


@pytest.fixture
def worker(counters: Counters) -> Worker:
    return Worker(counters).register()


def assert_lost(home: Home, worker: Worker) -> None:
    """Whoever knew them, and whoever comes new, is refused; new counters can be made."""
    found = 0
    batch = worker.batch([charge(limit=100, bound=1)])
    for asker in (worker.counters, home.connect()):
        with contextlib.suppress(CountersUnavailable):  # by a connection that was cut; whoever meets it repeats
            asker.apply_batch(batch)
        with pytest.raises(CountersLost):
            asker.apply_batch(batch)
        try:
            status = asker.status()
            assert status.sequence < home.shared_state.sequence
        except CountersLost as error:
            found = error.found
    assert found in (0, 1)
    again = Worker(home.live(2, "key"), generation=2).register()
    assert kinds(again.send(charge(limit=100, bound=60))) == [Admitted]
    assert money(again.counters) == (0, 60, 0)


def test_it_works(worker: Worker) -> None:
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]
    assert worker.counters.check()


@pytest.mark.parametrize("kept_by", ["RDB", "AOF"])
def test_a_restarted_server_is_a_loss_although_it_kept_its_data(
    server: RedisServer, home: Home, worker: Worker, kept_by: str
) -> None:
    if kept_by == "AOF":
        server.tell("CONFIG", "SET", "appendonly", "yes")
        until(lambda: server.fact("persistence", "aof_rewrite_in_progress") == 0)
    worker.send(charge(limit=100, bound=60))
    if kept_by == "RDB":
        server.tell("SAVE")
    server.stop()
    server.start(*(["--appendonly", "yes"] if kept_by == "AOF" else []))
    assert server.tell("HGET", META, "generation") == b"1"
    with pytest.raises(CountersLost) as lost:
        home.connect().status()
    assert lost.value.found == 1, "new ones have to be above"
    assert_lost(home, worker)


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB", "SCRIPT FLUSH", f"DEL {META}"])
def test_an_emptied_server_is_a_loss(server: RedisServer, home: Home, worker: Worker, command: str) -> None:
    worker.send(charge(limit=100, bound=60))
    server.tell(*command.split())
    assert_lost(home, worker)


def test_an_older_snapshot_is_a_loss(server: RedisServer, home: Home, worker: Worker) -> None:
    server.tell("SAVE")
    shutil.copy(server.folder / "dump.rdb", server.folder / "older.rdb")
    worker.send(charge(limit=100, bound=60))
    server.stop()
    shutil.copy(server.folder / "older.rdb", server.folder / "dump.rdb")
    server.start()
    assert server.tell("HGET", META, "generation") == b"1"
    assert_lost(home, worker)


def test_an_older_copy_put_back_without_a_restart_is_a_loss(server: RedisServer, home: Home, worker: Worker) -> None:
    with server.client() as client:
        kept = {key: client.dump(key) for key in client.scan_iter(f"{PREFIX}*")}
        worker.send(charge(limit=100, bound=60))
        for key, value in kept.items():
            client.restore(key, 0, value, replace=True)
    with pytest.raises(CountersLost, match="older copy"):
        worker.send(charge(limit=100, bound=60))
    assert_lost(home, worker)


def test_a_worker_whose_batches_are_missing_finds_out_itself(server: RedisServer, home: Home, worker: Worker) -> None:
    """Its shared state may be younger than the loss, as one of another machine is."""
    worker.send(charge(limit=100, bound=60))
    server.tell("HSET", f"{PREFIX}1:worker:w1", "batch", 0)
    with pytest.raises(CountersLost, match="batches are missing"):
        worker.send(charge(limit=100, bound=60))


def test_a_promoted_replica_is_a_loss(server: RedisServer, home: Home, tmp_path: Path) -> None:
    (tmp_path / "replica").mkdir()
    replica = RedisServer(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port))
    wire = Wire(server.socket)
    home.url = wire.url
    worker = Worker(home.live(1, "key")).register()
    worker.send(charge(limit=100, bound=60))
    until(lambda: replica.fact("replication", "master_link_status") == "up", 20)
    until(lambda: replica.tell("HGET", META, "generation") == b"1")
    wire.target = replica.socket
    wire.cut()
    with pytest.raises(CountersUnavailable):
        worker.send(charge(limit=100, bound=10))
    replica.tell("REPLICAOF", "NO", "ONE")
    assert_lost(home, worker)
    home.close()
    wire.close()
    replica.stop()


def test_a_read_only_replica_is_unavailable_until_it_is_the_primary_again(server: RedisServer, worker: Worker) -> None:
    server.tell("REPLICAOF", "127.0.0.1", 1)
    batch = worker.batch([charge(limit=100, bound=60)])
    with pytest.raises(CountersUnavailable, match="ReadOnlyError") as refused:
        worker.counters.apply_batch(batch)
    assert not refused.value.in_doubt
    assert not isinstance(refused.value, CountersLost)
    server.tell("REPLICAOF", "NO", "ONE")
    assert kinds(worker.counters.apply_batch(batch)) == [Admitted]
    assert money(worker.counters) == (0, 60, 0)


def test_what_older_generations_left_is_swept_up(server: RedisServer, home: Home, worker: Worker) -> None:
    worker.counters.publish(1, {f"key{number}": 1 for number in range(1200)}, {"acme": 1})
    newest = home.live(2, "key")
    newest = home.live(3, "key")
    newest.checkpoint()
    with server.client() as client:
        left = sorted(key.decode().removeprefix(PREFIX) for key in client.keys("*"))
    assert left == ["3:key:key", "3:keys", "3:orgs", "counters"]
    newest.checkpoint()
    assert newest.rows(["key"])["key"].version == 1


def test_a_server_is_given_its_scripts_once_for_all_its_life(server: RedisServer, home: Home, worker: Worker) -> None:
    for generation in range(2, 6):
        home.live(generation, "key")
    assert server.fact("memory", "number_of_cached_scripts") == 2
    server.tell("SCRIPT", "FLUSH")
    home.live(7, "key")
    with pytest.raises(CountersLost):
        worker.send(charge())
    assert server.fact("memory", "number_of_cached_scripts") == 2


def test_threads_of_a_dashboard_share_the_way_to_the_server(server: RedisServer, home: Home, worker: Worker) -> None:
    seen = home.connect()
    generations = itertools.count(2)
    one_at_a_time = threading.Lock()

    def look(number: int) -> int:
        seen.rows(["key"])
        if number % 50 != 49:
            return seen.status().generation
        with one_at_a_time:
            home.live(next(generations), "key")
            return seen.status().generation

    before = server.fact("clients", "connected_clients")
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(400))) == set(range(1, 10))
    now = server.fact("clients", "connected_clients")
    assert isinstance(now, int)
    assert isinstance(before, int)
    assert now - before <= 2 * (8 + 8), (
        "two a thread, for scripts and for the rest, and two for each that made new ones"
    )


# Several machines


def test_two_machines_share_the_counters(server: RedisServer, home: Home, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", server.url)
    other.shared_state.begin_generation(1, 0, 0, 0)  # as told by the database
    far = Worker(other.connect(), "w2").register()
    for number in range(1, 5):
        for one in (worker, far):
            assert kinds(one.send(charge(limit=100, bound=10))) == [Admitted]
        assert home.shared_state.sequence + 1 == other.shared_state.sequence
        assert money(worker.counters) == (0, 20 * number, 0)
    with pytest.raises(CountersUnavailable, match="newer ones"):
        other.connect().begin_generation(1, {})
    other.connect().begin_generation(2, {"w1": 0})
    for act in (lambda: worker.send(charge()), lambda: worker.counters.publish(1, {"key": 2}, {})):
        with pytest.raises(CountersLost) as lost:
            act()
        assert lost.value.found == 2
    assert other.shared_state.generation == 2
    assert home.connect().status().missing == ("w1",)
    other.close()


def test_a_loss_that_one_machine_cannot_see_is_seen_by_the_other(
    server: RedisServer, home: Home, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other", server.url)
    other.shared_state.begin_generation(1, 0, 0, 0)
    far = Worker(other.connect(), "w2").register()
    with server.client() as client:
        kept = {key: client.dump(key) for key in client.scan_iter(f"{PREFIX}*")}
        far.send(charge(limit=100, bound=60))
        for key, value in kept.items():
            client.restore(key, 0, value, replace=True)
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]
    with pytest.raises(CountersLost):
        far.send(charge(limit=100, bound=60))
    other.close()


# Numbers


def test_amounts_near_the_largest_stay_exact(home: Home, counters: Counters) -> None:
    odd = MAX_NANOS - 12_345_677
    worker = Worker(counters).register()
    counters.publish(1, {"big": 1}, {})
    counters.seed(1, [Seed("big", odd, {TODAY: odd - 1})])
    row = counters.rows(["big"])["big"]
    assert (row.lifetime, row.days) == (odd, {TODAY: [odd - 1, 0]})
    (answer,) = worker.send(charge("big", limit=odd + 11, bound=9))
    assert isinstance(answer, Admitted)
    assert answer.spend is not None
    assert answer.spend[:4] == (odd + 11, odd, 9, 2)
    worker.send(ends=[worker.end("big", day=TODAY, held=9, cost=7)])
    assert counters.rows(["big"])["big"].days == {TODAY: [odd + 6, 0]}
    (held,) = worker.send(charge("key", limit=MAX_NANOS, bound=odd))
    assert isinstance(held, Admitted)
    state = counters.worker_state("w1")
    assert state is not None
    assert state.last_admitted[0].hold.nanos == odd
    assert counters.rows(["key"])["key"].days == {TODAY: [0, odd]}
    worker.send(ends=[worker.end("key", day=TODAY, held=odd, cost=odd)])
    worker.send(ends=[worker.end("key", day=TODAY, cost=odd)])
    assert counters.rows(["key"])["key"].lifetime == MAX_NANOS, "cut, never wrapped or rounded"


def test_the_time_is_the_servers(server: RedisServer, home: Home, worker: Worker) -> None:
    told = server.tell("TIME")
    assert isinstance(told, tuple)
    seconds, micros = told
    counters = connect(server.url)
    counters.attach(home.shared_state)
    own = Worker(counters, "w2").register()
    (answer,) = own.send(charge(rpm=5))
    assert isinstance(answer, Admitted)
    assert answer.second - int(seconds) in (0, 1, 2)
    assert counters.moment().wall == pytest.approx(int(seconds) + int(micros) / 1e6, abs=2)
    counters.close()
