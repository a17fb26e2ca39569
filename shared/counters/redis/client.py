"""What this folder offers, to whoever needs it: imported only where counters are on a server."""

from shared.counters.clock import Clock
from shared.counters.redis import library  # noqa: F401 - before all that import the client library
from shared.counters.redis.counters import RedisCounters
from shared.counters.redis.link import Link
from shared.counters.redis.throttle import RedisLoginThrottle


def connect(url: str, *, clock: Clock | None = None) -> RedisCounters:
    """The counters at a URL that was checked. Nothing is opened before it is used."""
    return RedisCounters(Link(url), clock=clock)


def login_throttle(url: str, *, clock: Clock | None = None) -> RedisLoginThrottle:
    """The memory of failed logins at a URL that was checked."""
    return RedisLoginThrottle(Link(url), clock=clock)
