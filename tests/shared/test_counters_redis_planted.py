"""What stands under our names on a server and is none of ours is a loss: noticed at once, and gone with new counters."""

import pytest
from counters_kit import Home, Worker, charge, kinds, money
from redis_kit import RedisServer

from shared.counters import Admitted, CountersLost, CountersUnavailable
from shared.counters.redis.script import META, PREFIX

KEY, ORGS, WORKERS, WORKER = (f"{PREFIX}1:{name}" for name in ("key:key", "orgs", "workers", "worker:w1"))


@pytest.fixture
def home(server_home: Home) -> Home:
    return server_home


def test_it_works(home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        (META, ("SET", "text")), (META, ("RPUSH", "list")), (META, ("HSET", "generation", "eleven")),
        (KEY, ("HSET", "some", "hash")), (KEY, ("SET", "no row")),
        (ORGS, ("SET", "text")), (ORGS, ("HSET", "org", "x")), (WORKER, ("SET", "text")),
        (WORKER, ("HSET", "batch", "x")),
    ],
)  # fmt: skip
def test_r10_what_is_none_of_ours_is_a_loss_and_new_counters_are_made(
    server: RedisServer, home: Home, name: str, planted: tuple[str, ...]
) -> None:
    worker = Worker(home.live(1, "key")).register()
    worker.send(charge(limit=100, bound=10))
    command, *words = planted
    if (name, command) != (name, "HSET") or name == KEY:
        server.tell("DEL", name)
    server.tell(command, name, *words)
    with pytest.raises(CountersLost):
        worker.send(charge(limit=100, bound=60))
    again = home.live(2, "key")
    later = Worker(again, generation=2).register()
    assert kinds(later.send(charge(limit=100, bound=60))) == [Admitted]
    assert money(again) == (0, 60, 0)


def test_workers_that_are_no_set_are_a_loss_to_whoever_enters_or_looks(server: RedisServer, home: Home) -> None:
    counters = home.live(1, "key")
    server.tell("DEL", WORKERS)
    server.tell("SET", WORKERS, "text")
    for act in (lambda: counters.register("w1", 1), counters.status):
        with pytest.raises(CountersLost):
            act()
    assert home.live(2, "key").status().missing == ()


def test_a_command_that_is_not_allowed_is_no_loss(server: RedisServer, home: Home) -> None:
    worker = Worker(home.live(1, "key")).register()
    server.tell("ACL", "SETUSER", "default", "-get")
    with pytest.raises(CountersUnavailable) as refused:
        worker.send(charge(limit=100, bound=60))
    assert not isinstance(refused.value, CountersLost)
    server.tell("ACL", "SETUSER", "default", "+get")
