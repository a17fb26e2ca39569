"""Names to addresses: whose lookup holds up whom. Lookups are those of a thread that is let go by hand."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gevent
import pytest

from proxyd.messages import UpstreamTimeout, UpstreamUnreachable
from proxyd.upstream.resolver import FAILED_SECONDS, MOST_KNOWN, STALE_SECONDS, THREADS, Resolver

BELIEVED = 30.0


@dataclass
class Names:
    """Answers at once, but for names with `slow` in them, which wait until they are let go."""

    at: float = 1_000.0
    asked: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    go: threading.Event = field(default_factory=threading.Event)

    def look_up(self, host: str, port: int) -> list[Any] | None:
        self.asked.append(host)
        if "slow" in host:
            self.go.wait(20)
        return None if host in self.lost else [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", port))]


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.go.set()


@pytest.fixture
def resolver(names: Names) -> Resolver:
    return Resolver(BELIEVED, look_up=names.look_up, now=lambda: names.at)


def eventually(condition: Callable[[], bool]) -> None:
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.005)


def test_it_works(resolver: Resolver, names: Names) -> None:
    for chosen in (False, True):
        for _ in range(3):
            assert resolver.addresses("a.example", 443, 5.0, chosen=chosen) == [(socket.AF_INET, ("192.0.2.1", 443))]
        assert resolver.addresses("::1", 80, 5.0, chosen=chosen) == [(socket.AF_INET6, ("::1", 80))]
    assert names.asked == ["a.example"] * 2
    names.at += BELIEVED
    resolver.addresses("a.example", 443, 5.0, chosen=True)
    assert names.asked == ["a.example"] * 3


def test_a_real_name() -> None:
    found = Resolver(BELIEVED).addresses("localhost", 80, 5.0, chosen=True)
    assert {address[0] for _, address in found} <= {"127.0.0.1", "::1"}


def test_slow_names_that_were_chosen_hold_up_no_built_in_provider(resolver: Resolver, names: Names) -> None:
    waiting = [
        gevent.spawn(resolver.addresses, f"slow-{number}.example", 443, 20.0, chosen=True)
        for number in range(THREADS * 4)
    ]
    eventually(lambda: len(names.asked) == THREADS)
    assert resolver.addresses("api.openai.com", 443, 5.0)
    names.go.set()
    gevent.joinall(waiting, timeout=10, raise_error=True)
    assert len(names.asked) == THREADS * 4 + 1


def test_a_name_is_looked_up_once_at_a_time(resolver: Resolver, names: Names) -> None:
    """Whoever gives up leaves the lookup to those who come later, so that one name has one thread at most."""
    for _ in range(THREADS * 2):
        with pytest.raises(UpstreamTimeout):
            resolver.addresses("slow.example", 443, 0.001, chosen=True)
    assert resolver.addresses("other.example", 443, 5.0, chosen=True)
    assert names.asked == ["slow.example", "other.example"]
    names.go.set()
    assert resolver.addresses("slow.example", 443, 5.0, chosen=True)
    assert names.asked == ["slow.example", "other.example"]


def test_a_failure_is_kept_for_some_seconds(resolver: Resolver, names: Names) -> None:
    """Of a name that was chosen; a built-in provider's is looked up again by the next who needs it."""
    names.lost.add("gone.example")
    for chosen, count in ((True, 1), (False, 3)):
        names.asked.clear()
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable):
                resolver.addresses("gone.example", 443, 5.0, chosen=chosen)
        assert len(names.asked) == count
    names.at += FAILED_SECONDS
    names.lost.clear()
    assert resolver.addresses("gone.example", 443, 5.0, chosen=True)


def test_what_was_known_of_a_built_in_provider_is_used_while_it_is_looked_up(resolver: Resolver, names: Names) -> None:
    names.go.set()
    known = resolver.addresses("slow.openai.com", 443, 5.0)
    resolver.addresses("slow.example", 443, 5.0, chosen=True)
    names.go.clear()
    names.at += BELIEVED
    assert resolver.addresses("slow.openai.com", 443, 0.001) == known
    with pytest.raises(UpstreamTimeout):  # whose address may be anybody's by now
        resolver.addresses("slow.example", 443, 0.001, chosen=True)
    names.at += STALE_SECONDS
    with pytest.raises(UpstreamTimeout):
        resolver.addresses("slow.openai.com", 443, 0.001)
    names.go.set()
    assert resolver.addresses("slow.openai.com", 443, 5.0) == known


def test_not_all_that_was_ever_asked_for_is_kept(resolver: Resolver, names: Names) -> None:
    for number in range(MOST_KNOWN + 1):
        resolver.addresses(f"{number}.example", 443, 5.0, chosen=True)
    names.asked.clear()
    resolver.addresses(f"{MOST_KNOWN}.example", 443, 5.0, chosen=True)
    resolver.addresses("0.example", 443, 5.0, chosen=True)
    assert names.asked == ["0.example"]
