"""The memory of failed logins on Redis, for any number of dashboards.

Each name has a key of its own, beside the counters but of no generation, which the server forgets after a day.
"""

from collections.abc import Sequence

from shared.counters.clock import Clock
from shared.counters.redis.link import Link
from shared.counters.redis.script import PREFIX
from shared.counters.throttle import FORGET_AFTER_SECONDS, Guarded, Tried, name_digest

_MICROSECONDS = 1_000_000

# A hash for each name: failures; open_at and failed_at in microseconds. The arguments are what is asked, the time (or
# nothing, for the server's own), and for each name its free failures and its longest wait. It answers whether the try
# may go on, and the microseconds to wait.
_SCRIPT = f"""
local FORGET = {FORGET_AFTER_SECONDS:.0f}
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local function exact(number) return string.format('%.0f', number) end
local function read(key)
  local found = redis.call('HMGET', key, 'failures', 'open_at', 'failed_at')
  local failures = tonumber(found[1] or '0')
  if failures > 0 and tonumber(found[3]) <= now - 1000000 * FORGET then failures = 0 end
  return failures, tonumber(found[2] or '0')
end
if ARGV[1] == 'succeeded' then
  redis.call('DEL', KEYS[1])
  for number = 2, #KEYS do
    local failures = read(KEYS[number])
    if failures <= 1 then
      redis.call('DEL', KEYS[number])
    else
      redis.call('HSET', KEYS[number], 'failures', exact(failures - 1), 'open_at', exact(now))
    end
  end
  return {{1, 0}}
end
local wait, counts = 0, {{}}
for number, key in ipairs(KEYS) do
  local failures, open_at = read(key)
  counts[number] = failures
  -- The bound holds also when the clock was set back.
  if failures > 0 then wait = math.max(wait, math.min(tonumber(ARGV[2 + 2 * number]), open_at - now)) end
end
if wait > 0 then return {{0, wait}} end
for number, key in ipairs(KEYS) do
  local failures, free = counts[number] + 1, tonumber(ARGV[1 + 2 * number])
  local own = 0
  if failures > free then
    own = math.min(tonumber(ARGV[2 + 2 * number]), 1000000 * 2 ^ math.min(failures - free - 1, 60))
  end
  wait = math.max(wait, own)
  redis.call('HSET', key, 'failures', exact(failures), 'open_at', exact(now + own), 'failed_at', exact(now))
  redis.call('EXPIRE', key, FORGET)
end
return {{1, wait}}
"""


class RedisLoginThrottle:
    """Implements `LoginThrottle`. A clock is for tests; the server's own is used without one."""

    def __init__(self, link: Link, *, clock: Clock | None = None) -> None:
        self._link = link
        self._clock = clock

    def attempt(self, names: Sequence[Guarded]) -> Tried:
        admitted, wait = self._run("attempt", names)
        return Tried(admitted=bool(admitted), wait_seconds=wait / _MICROSECONDS)

    def succeeded(self, names: Sequence[Guarded]) -> None:
        self._run("succeeded", names)

    def close(self) -> None:
        self._link.close()

    def _run(self, op: str, names: Sequence[Guarded]) -> tuple[int, int]:
        keys = [_key(guarded.name) for guarded in names]
        arguments: list[str | int] = [op, "" if self._clock is None else int(self._clock.wall() * _MICROSECONDS)]
        for guarded in names:
            arguments += [guarded.free_failures, int(guarded.longest_wait_seconds * _MICROSECONDS)]
        # As text: logins are rare, and a server that was restarted needs no second try.
        found: list[int] = self._link.call(lambda client: client.eval(_SCRIPT, len(keys), *keys, *arguments))
        return found[0], found[1]


def _key(name: str) -> str:
    return f"{PREFIX}login:{name_digest(name).hex()}"
