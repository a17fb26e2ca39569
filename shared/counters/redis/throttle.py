"""The memory of failed logins on Redis, for any number of dashboards.

Each name has a key of its own, beside the counters but of no generation, which the server forgets after a day.
"""

from shared.counters.clock import Clock
from shared.counters.redis.link import Link
from shared.counters.redis.script import PREFIX
from shared.counters.throttle import FORGET_AFTER_SECONDS, FREE_FAILURES, LONGEST_WAIT_SECONDS, name_digest

_MICROSECONDS = 1_000_000

# A hash: failures; open_at and failed_at in microseconds. It answers with the microseconds to wait.
_SCRIPT = f"""
local FREE, LONGEST, FORGET = {FREE_FAILURES}, {LONGEST_WAIT_SECONDS * _MICROSECONDS:.0f}, {FORGET_AFTER_SECONDS:.0f}
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local found = redis.call('HMGET', KEYS[1], 'failures', 'open_at', 'failed_at')
local failures = tonumber(found[1] or '0')
if failures > 0 and tonumber(found[3]) <= now - 1000000 * FORGET then failures = 0 end
if ARGV[1] == 'wait' then
  if failures == 0 then return 0 end
  -- The bound holds also when the clock was set back.
  return math.min(LONGEST, math.max(0, tonumber(found[2]) - now))
end
failures = failures + 1
local wait = 0
if failures > FREE then wait = math.min(LONGEST, 1000000 * 2 ^ math.min(failures - FREE - 1, 60)) end
local function exact(number) return string.format('%.0f', number) end
redis.call('HSET', KEYS[1], 'failures', exact(failures), 'open_at', exact(now + wait), 'failed_at', exact(now))
redis.call('EXPIRE', KEYS[1], FORGET)
return wait
"""


class RedisLoginThrottle:
    """Implements `LoginThrottle`. A clock is for tests; the server's own is used without one."""

    def __init__(self, link: Link, *, clock: Clock | None = None) -> None:
        self._link = link
        self._clock = clock

    def wait_seconds(self, name: str) -> float:
        return self._run("wait", name)

    def failed(self, name: str) -> float:
        return self._run("failed", name)

    def cleared(self, name: str) -> None:
        self._link.call(lambda client: client.delete(_key(name)))

    def close(self) -> None:
        self._link.close()

    def _run(self, op: str, name: str) -> float:
        now = "" if self._clock is None else int(self._clock.wall() * _MICROSECONDS)
        # As text: logins are rare, and a server that was restarted needs no second try.
        found: int = self._link.call(lambda client: client.eval(_SCRIPT, 1, _key(name), op, now))
        return found / _MICROSECONDS


def _key(name: str) -> str:
    return f"{PREFIX}login:{name_digest(name).hex()}"
