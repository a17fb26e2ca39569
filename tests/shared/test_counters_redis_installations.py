"""Two routers that were given one server by mistake: whoever comes second is told, and changes nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import BOOT, Home, Worker, charge, kinds
from redis_kit import RedisServer

from shared.counters import Admitted, CountersForeign, CountersLost, SharedState
from shared.counters.redis.script import META

OURS, THEIRS = 2**62, 7


@pytest.fixture
def homes(redis_server: RedisServer, tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    """A data directory of each, on one server."""
    redis_server.empty()
    found = []
    for installation in (OURS, THEIRS):
        (tmp_path / str(installation)).mkdir()
        home = Home(tmp_path / str(installation), redis_server.url)
        home.shared_state = SharedState.create(home.data_dir, BOOT, installation)
        found.append(home)
    yield found[0], found[1]
    for home in found:
        home.close()


def test_it_works(homes: tuple[Home, Home], redis_server: RedisServer) -> None:
    ours, theirs = homes
    worker = Worker(ours.live(1, "key")).register()
    before = redis_server.tell("HGETALL", META)
    for generation in (1, 2):
        with pytest.raises(CountersForeign, match="each needs a server, or a database number, of its own"):
            theirs.connect().begin_generation(generation, {})
    assert redis_server.tell("HGETALL", META) == before
    assert theirs.shared_state.generation == 0
    assert kinds(worker.send(charge(limit=100, bound=60))) == [Admitted]


def test_their_counters_are_not_taken_for_ours_though_all_numbers_agree(
    homes: tuple[Home, Home], redis_server: RedisServer
) -> None:
    ours, theirs = homes
    worker = Worker(ours.live(1, "key")).register()
    redis_server.empty()
    theirs.live(1, "key").publish(1, {}, {})
    with pytest.raises(CountersForeign):
        worker.counters.status()
    with pytest.raises(CountersForeign):
        Worker(ours.connect(), "w2").register()
    with pytest.raises(CountersLost):
        worker.send(charge(limit=100, bound=60))


def test_who_starts_is_told(homes: tuple[Home, Home]) -> None:
    ours = homes[0].live(1)
    ours.refuse_foreign(OURS)
    ours.refuse_foreign(0)
    with pytest.raises(CountersForeign):
        ours.refuse_foreign(THEIRS)


def test_counters_without_a_name_are_anybodys(homes: tuple[Home, Home], redis_server: RedisServer) -> None:
    """Such as an older release made."""
    homes[0].live(1)
    redis_server.tell("HDEL", META, "installation")
    counters = homes[1].connect()
    counters.refuse_foreign(THEIRS)
    counters.begin_generation(2, {})
    assert counters.status().generation == 2
    assert redis_server.tell("HGET", META, "installation") == str(THEIRS).encode()
