"""Storages of the `limits` library on Redis, with a moving window that is exact to the second.

They keep one count for each key and second, where the library's own keep an entry for each request; see `rows.Window`
for what that promises. Fixed windows are kept in the same entry. Everything else is the library's. Whoever imports this
module has them registered, in the place of the library's own, for the schemes of `url`.

The windows of proxy keys do not come here: they stand in the keys' rows, and are judged with everything else of a
request in one run (`script`).
"""

from typing import Any

from limits.storage import RedisClusterStorage, RedisSentinelStorage, RedisStorage

from shared.counters.clock import Clock
from shared.counters.redis import url as urls
from shared.counters.redis.lua_rows import WINDOWS
from shared.counters.redis.script import PREFIX

_MICROSECONDS = 1_000_000

# An entry is a hash: `window` as in a key's row; `count` and `expires` (microseconds) of a fixed window. It is kept a
# second longer than anything in it weighs.
_SCRIPT = f"""
{WINDOWS}
local KEY, op, seconds, amount, limit = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[5])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local second = math.floor(now / 1000000)

local function keep()
  redis.call('PEXPIRE', KEY, math.max(1000 * (seconds + 2), redis.call('PTTL', KEY)))
end

if op == 'acquire' or op == 'window' then
  local data = redis.call('HGET', KEY, 'window')
  local window, used = weighed(data and cmsgpack.unpack(data) or {{}}, second, seconds)
  if op == 'window' then return {{window[1] or second, used}} end
  if used + amount > limit then return 0 end
  count(window, second, amount)
  redis.call('HSET', KEY, 'window', cmsgpack.pack(window))
  keep()
  return 1
end

local fixed = redis.call('HMGET', KEY, 'count', 'expires')
local used, expires = tonumber(fixed[1] or '0'), tonumber(fixed[2] or '0')
if expires <= now then used, expires = 0, now end
if op == 'fixed' then return {{used, expires}} end
if used == 0 and expires == now then
  expires = now + 1000000 * seconds
  redis.call('HSET', KEY, 'count', ARGV[3], 'expires', string.format('%.0f', expires))
  keep()
  return amount
end
return redis.call('HINCRBY', KEY, 'count', ARGV[3])
"""


class _ExactWindows:
    """What the three storages have in common. A clock is for tests; the server's own is used without one.

    It is no storage itself: the library gives every subclass of one its base's methods as its own, and the cluster's
    would be hidden behind those of a single server.
    """

    PREFIX = f"{PREFIX[1:-2]}:limits"  # no hash tag: on a cluster these may be anywhere
    clock: Clock | None = None
    _windows: Any = None

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return bool(self._run(key, "acquire", self._steady(), expiry, amount, limit))

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 - the contract
        """Unix seconds of the oldest request that still weighs, and how many do."""
        oldest, used = self._run(key, "window", self._steady(), expiry)
        return (oldest if self.clock is None else self.clock.wall() - self.clock.steady() + oldest), used

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a counter that lives `expiry` seconds from its first hit; answer with its new value."""
        return int(self._run(key, "incr", self._wall(), expiry, amount))

    def get(self, key: str) -> int:
        return int(self._run(key, "fixed", self._wall())[0])

    def get_expiry(self, key: str) -> float:
        """When the counter expires, in Unix seconds; now if there is none."""
        return float(self._run(key, "fixed", self._wall())[1] / _MICROSECONDS)

    def _wall(self) -> str | int:
        return "" if self.clock is None else int(self.clock.wall() * _MICROSECONDS)

    def _steady(self) -> str | int:
        return "" if self.clock is None else int(self.clock.steady() * _MICROSECONDS)

    def _run(self: Any, key: str, op: str, now: str | int, seconds: int = 0, amount: int = 0, limit: int = 0) -> Any:
        if self._windows is None:
            self._windows = self.get_connection().register_script(_SCRIPT)
        return self._windows([self.prefixed_key(key)], [op, seconds, amount, limit, now])


class SingleStorage(_ExactWindows, RedisStorage):
    """One server."""

    STORAGE_SCHEME = [*urls.SINGLE]  # noqa: RUF012 - the library declares it so

    def __init__(self, uri: str, *, key_prefix: str = _ExactWindows.PREFIX, **options: Any) -> None:
        super().__init__(uri, key_prefix=key_prefix, **options)


class ClusterStorage(_ExactWindows, RedisClusterStorage):
    """A cluster."""

    STORAGE_SCHEME = ["redis+cluster"]  # noqa: RUF012 - as above

    def __init__(self, uri: str, *, key_prefix: str = _ExactWindows.PREFIX, **options: Any) -> None:
        given: dict[str, Any] = {**urls.options_of(uri), **options}
        super().__init__(uri, key_prefix=key_prefix, **given)


class SentinelStorage(_ExactWindows, RedisSentinelStorage):
    """What Sentinels say is the primary. Replicas are not asked: they are behind."""

    STORAGE_SCHEME = ["redis+sentinel"]  # noqa: RUF012 - as above

    def __init__(self, uri: str, *, key_prefix: str = _ExactWindows.PREFIX, **options: Any) -> None:
        given: dict[str, Any] = {**urls.options_of(uri), **options}
        # Sentinels are servers of their own, with a password of their own or none. The library would send them the
        # primary's, with which one that has none refuses to talk.
        own = {name: given.pop(f"sentinel_{name}", None) for name in ("username", "password")}
        super().__init__(uri, use_replicas=False, sentinel_kwargs={**given, **own}, key_prefix=key_prefix, **given)


EXACT = (SingleStorage, ClusterStorage, SentinelStorage)
