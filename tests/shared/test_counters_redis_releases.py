"""Two releases of the router on one set of counters, as a rolling upgrade has them for a while.

The other release is this one with another script, or with another format: what a change of either would bring about.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge, in_flight, kinds, money, tokens_used, used
from redis_kit import RedisServer

from shared.counters import (
    Admitted,
    Counters,
    CountersLost,
    CountersUnavailable,
    Hold,
    LastAdmitted,
    RateLimited,
)
from shared.counters.redis.counters import RedisCounters
from shared.counters.redis.link import Link
from shared.counters.redis.script import META, OURS, Release

NEXT = Release(f"{OURS.text}\n-- of another release", OURS.format)
NEWER = Release(NEXT.text, OURS.format + 1)


class OtherHome(Home):
    """A data directory on which another release runs."""

    release = NEXT

    def connect(self, *, attached: bool = True) -> Counters:
        counters = RedisCounters(Link(self.url), clock=self.clock, release=self.release)
        counters.attach(self.shared_state if attached else None)
        self.opened.append(counters)
        return counters


@pytest.fixture
def home(server: RedisServer, tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "ours").mkdir()
    home = Home(tmp_path / "ours", server.url)
    yield home
    home.close()


@pytest.fixture
def other(home: Home, tmp_path: Path) -> Iterator[OtherHome]:
    (tmp_path / "other").mkdir()
    other = OtherHome(tmp_path / "other", home.url, home.clock)
    yield other
    other.close()


def adopt(home: Home) -> Counters:
    """Its ledger writer goes by the counters that stand."""
    counters = home.connect()
    assert counters.shared is not None
    counters.shared.adopt(counters.status(), [])
    return counters


def scripts(server: RedisServer) -> object:
    return server.fact("memory", "number_of_cached_scripts")


def test_it_works(server: RedisServer, home: Home, other: OtherHome) -> None:
    """Both change the same rows; what one of them counts, the other one does."""
    ours = Worker(home.live(1, "key")).register()
    theirs = Worker(adopt(other), "w2").register()
    for worker in (ours, theirs, ours, theirs):
        assert kinds(worker.send(charge(rpm=4, limit=100, bound=25))) == [Admitted]
    assert money(ours.counters) == money(theirs.counters) == (0, 100, 0)
    assert used(ours.counters) == 4
    assert kinds(theirs.send(charge(rpm=4))) == kinds(ours.send(charge(rpm=4))) == [RateLimited]
    assert ours.counters.status().generation == 1
    assert scripts(server) == 3  # that of the life, and one for each release


def test_whichever_makes_new_counters_the_other_goes_on_with_the_script_it_had(
    server: RedisServer, home: Home, other: OtherHome
) -> None:
    home.live(1, "key")
    adopt(other)
    for generation, maker, follower in ((2, home, other), (3, other, home), (4, home, other)):
        maker.live(generation, "key")
        worker = Worker(adopt(follower), generation=generation).register()
        assert kinds(worker.send(charge(limit=100, bound=25))) == [Admitted]
    assert scripts(server) == 3


def test_a_release_that_comes_to_a_restarted_server_finds_out_too(
    server: RedisServer, home: Home, other: OtherHome
) -> None:
    """It kept its data; nothing of the new release is entered there."""
    home.live(1, "key")
    server.tell("SAVE")
    server.stop()
    server.start()
    before = server.tell("HGETALL", META)
    with pytest.raises(CountersLost) as lost:
        other.connect().status()
    assert lost.value.found == 1
    assert server.tell("HGETALL", META) == before
    with pytest.raises(CountersLost):
        other.connect().status()


def test_a_server_that_is_restarted_while_a_release_comes_is_a_loss_to_it(
    server: RedisServer, home: Home, other: OtherHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first look at what stands there and the script, and between the script and its name."""
    home.live(1, "key")
    real = Link.load
    for after in (False, True):

        def load(link: Link, text: str, *, after: bool = after) -> None:
            if after:
                real(link, text)
            server.tell("SCRIPT", "FLUSH")  # all that a restart does to scripts
            if not after:
                real(link, text)

        with monkeypatch.context() as patch:
            patch.setattr(Link, "load", load)
            with pytest.raises(CountersLost):
                other.connect().status()
        assert NEXT.field.encode() not in server.tell("HKEYS", META)  # type: ignore[operator] # a list


def test_counters_that_are_gone_are_not_made_by_entering_a_name(home: Home, other: OtherHome) -> None:
    home.live(1, "key")
    link = Link(home.url)
    counters = other.connect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "load", lambda *_: link.call(lambda client: client.delete(META)))
        with pytest.raises(CountersLost):
            counters.status()
    assert link.call(lambda client: client.exists(META)) == 0
    link.close()


def test_an_older_release_keeps_away_from_counters_of_a_newer_format(home: Home, other: OtherHome) -> None:
    """It neither admits by them nor makes new ones, so that two releases never make them in turn."""
    ours = Worker(home.live(1, "key")).register()
    other.release = NEWER
    with pytest.raises(CountersLost, match="older release") as lost:
        other.connect().status()
    assert lost.value.found == 1
    other.connect().refuse_foreign(0)
    theirs = Worker(other.live(2, "key"), "w2", 2).register()
    assert kinds(theirs.send(charge(limit=100, bound=25))) == [Admitted]
    with pytest.raises(CountersUnavailable, match="newer release"):
        ours.send(charge(limit=100, bound=25))
    refuse = functools.partial(home.connect().refuse_foreign, 0)
    for ask in (ours.counters.status, home.connect().status, refuse):
        with pytest.raises(CountersUnavailable, match="newer release"):
            ask()
    assert theirs.counters.status().generation == 2
    assert kinds(theirs.send(charge(limit=100, bound=25))) == [Admitted]


# What a release of format 5 has left at `NOON`, byte for byte: a worker w1 that has sent two batches, with 60 + 40, then
# 30 nano-dollars admitted (these under a limit for models), and 60 ended as 55, in the row of the key and in that of its
# organisation; a key that was
# edited; a key that has a limit of tokens, 40 of which count. And the life's script, which may never change.
LEFT = "{enterprise-router}:3:"
ROWS = {
    "key:edited": b"\x96\x07\x00\x00\x90\x90\x00",
    "key:key": b"\x96\x01\x017\x93\xce\x00\x0bJ\x9c7F\x92\xcd\x13\x88\x03\x02",
    "key:limited": b"\x97\x01\x01\x00\x90\x92\xcd\x13\x88\x01\x01\x92\xcd\x13\x88\x28",
    "key:org": b"\x96\x00\x017\x93\xce\x00\x0bJ\x9c7F\x92\xcd\x13\x88\x03\x02",
}
ADMITTED = b"\x98\x00\x00\xa3key\xce\x00\x0bJ\x9c\xcd\x13\x88\x1e\xa3org\x91\xa9key/gpt-*"
W1 = {"joined": 1, "batch": 2, "end_number": 1, "admitted": ADMITTED}
COUNTERS = {
    "generation": 3, "live": 1, "sequence": 1048583, "life": "one", "format": 5, "script:other": "theirs",
    "tracked": b"\x81\xa3org\xc3",
}  # fmt: skip
LIFE = """-- life one
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])
return redis.call('HGET', KEYS[1], ARGV[1])
"""


def test_what_a_release_of_this_format_has_left_is_understood(server: RedisServer, home: Home) -> None:
    """If this fails because the script was changed, the change needs another FORMAT."""
    assert OURS.format == COUNTERS["format"]
    server.tell("SCRIPT", "LOAD", LIFE)
    with server.client() as client:
        client.hset("{enterprise-router}:counters", mapping=COUNTERS)
        client.hset(f"{LEFT}worker:w1", mapping=W1)
        client.hset(f"{LEFT}orgs", "org", "2")
        client.sadd(f"{LEFT}workers", "w1")
        client.sadd(f"{LEFT}keys", *(name.partition(":")[2] for name in ROWS))
        for name, data in ROWS.items():
            client.set(LEFT + name, data)
    counters = adopt(home)
    assert money(counters) == money(counters, "org") == (55, 70, 55)
    assert used(counters) == used(counters, "org") == 3
    assert in_flight(counters) == in_flight(counters, "org") == 2
    state = counters.worker_state("w1")
    assert state is not None
    assert state.last_admitted == [LastAdmitted(0, Hold("key", TODAY, 30, 1, "org", ("key/gpt-*",)))]
    rows = counters.rows(["edited", "limited"])
    assert rows["edited"].version == 7
    assert rows["edited"].tokens is None
    assert tokens_used(counters, "limited") == 40
    assert counters.org_version("org") == 2
    worker = Worker(counters, "w1", 3, number=1, end_number=1)
    (before,) = worker.send(charge(rpm=9, limit=1000, bound=30, org_version=2))  # again: it was admitted then
    assert kinds([before]) == [Admitted]
    assert money(counters) == (55, 70, 55)
    worker.send(charge(limit=200, bound=75, org_version=2), ends=[worker.end(day=TODAY, held=40, cost=40)])
    assert money(counters) == money(counters, "org") == (95, 105, 95)
    assert counters.status().missing == ()
