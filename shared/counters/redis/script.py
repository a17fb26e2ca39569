"""The one script that is run inside Redis: a batch, or another change of the counters, alone among all machines.

It is the judgement of `shared.counters.rows` once more, in the language that Redis runs. Numbers there are doubles,
exact below 2**53: amounts come as arguments, go as integer replies or through `cmsgpack`, and are never joined to text
(`tostring`, `..` and `cjson` lose digits from 1e14).

Its first line is a name that was made up for one life of a server, so the script and its digest are that life's own. A
server keeps scripts in memory only: one that was restarted, or took over from another, does not know it and says so.
That is how counters are told from an older copy of them, whatever stands between us and the server. Which release has
which name stands in the counters (`named_scripts`).

The text may differ between releases that share counters, as long as each of them understands what the other leaves
there. When it does not, `FORMAT` is raised.
"""

import hashlib
from dataclasses import dataclass

from shared.counters.moments import KEEP_DAYS, UNIX_EPOCH_DAY
from shared.counters.redis import lua_batch, lua_changes, lua_read, lua_rows
from shared.counters.window import WINDOW_SECONDS
from shared.money import MAX_NANOS

PREFIX = "{enterprise-router}:"  # one hash slot, so that one script can see all of it on a cluster too
META = f"{PREFIX}counters"
# Of everything below PREFIX; 1 had one script for all releases, 2 no requests in flight, 3 no tokens, 4 no limits for
# models.
FORMAT = 5

# First element of a reply.
DONE, OTHER_GENERATION, OLDER, UNKNOWN_WORKER, BATCHES_MISSING, NOT_NEWER, OTHER_FORMAT, FOREIGN = range(8)
# What became of a batch: decided, or as it was before; or the days of its charges are not those of the server's clock,
# and nothing was done.
APPLIED, REPEATED, OTHER_DAY = range(3)
# The decision on a charge is nine numbers: one of these; requests that weigh, the last second of one, the second whose
# end makes room; spent, held, seconds to wait or requests in flight; what the organisation has spent and held.
ADMITTED, STALE, MISSING, UNSEEDED, REBUILDING, RATE_LIMITED, SPEND_EXCEEDED, SPEND_HELD, TOO_MANY_CONCURRENT = range(9)
TOKEN_RATE_LIMITED = 9
OF_ORGANIZATION = 16  # added to the code of a refusal for what an organisation's keys use together; all else is of that
OF_MODEL = 32  # times the place of a limit for models, from 1, added to the code of its refusal; likewise
DECISION_FIELDS = 9
# Behind all decisions, for each charge with a limit of tokens: its index, tokens that weigh, the last second of some,
# the second whose end makes room.
TOKEN_FIELDS = 4
TOKENS_FOLLOW, ROWS_FOLLOW = 2, 4  # added to what else a charge, or the requests of an END, brings along
# Likewise to what a charge brings along: the day of its zone. Then the number of charges is below zero, and followed by
# the Unix seconds between which all such days of the batch last.
DAY_FOLLOWS = 16
# Index, seq, key, day, second, nanos, organisation if it has a row of its own, rows of limits for models.
ADMITTED_FIELDS = 8
NONE = -1  # no limit, no second, no end of a period
AGAIN = -1  # the version of a charge, or the day of an END, that differs from the one before in little but its amounts

_NUMBERS = {
    "DONE": DONE, "OTHER_GENERATION": OTHER_GENERATION, "OLDER": OLDER, "UNKNOWN_WORKER": UNKNOWN_WORKER,
    "BATCHES_MISSING": BATCHES_MISSING, "NOT_NEWER": NOT_NEWER, "OTHER_FORMAT": OTHER_FORMAT, "FOREIGN": FOREIGN,
    "APPLIED": APPLIED, "REPEATED": REPEATED, "OTHER_DAY": OTHER_DAY, "ADMITTED": ADMITTED, "STALE": STALE,
    "MISSING": MISSING, "UNSEEDED": UNSEEDED, "REBUILDING": REBUILDING, "RATE_LIMITED": RATE_LIMITED,
    "SPEND_EXCEEDED": SPEND_EXCEEDED, "SPEND_HELD": SPEND_HELD, "TOO_MANY_CONCURRENT": TOO_MANY_CONCURRENT,
    "TOKEN_RATE_LIMITED": TOKEN_RATE_LIMITED, "TOKENS_FOLLOW": TOKENS_FOLLOW,
    "ROWS_FOLLOW": ROWS_FOLLOW, "DAY_FOLLOWS": DAY_FOLLOWS,
    "OF_MODEL": OF_MODEL, "OF_ORGANIZATION": OF_ORGANIZATION, "NONE": NONE, "AGAIN": AGAIN,
    "KEEP_DAYS": KEEP_DAYS, "WINDOW": WINDOW_SECONDS, "MAX": MAX_NANOS, "EPOCH": UNIX_EPOCH_DAY,
}  # fmt: skip
_CONSTANTS = f"local {', '.join(_NUMBERS)} = {', '.join(map(str, _NUMBERS.values()))}"

# The argument list begins with: what is asked, the generation, the number of changes that the shared state knows, a
# worker's id, and the two clocks of a test. What belongs to the question follows, read from left to right by int() and
# text().
_HEAD = f"""
local PREFIX, META, OLD = '{PREFIX}', KEYS[1], '{PREFIX}old'
local A, at = ARGV, 7
local op, asked, seen, own = A[1], tonumber(A[2]), tonumber(A[3]), A[4]

local function int() at = at + 1; return tonumber(A[at - 1]) end
local function text() at = at + 1; return A[at - 1] end

local meta = redis.call('HMGET', META, 'generation', 'live', 'sequence', 'format', 'tracked')
local format = tonumber(meta[4] or FORMAT)
local generation, live, sequence = tonumber(meta[1] or '0'), meta[2] == '1', tonumber(meta[3] or '0')
local base = PREFIX .. (meta[1] or '0') .. ':'
local ORGS, WORKERS = base .. 'orgs', base .. 'workers'
-- Organisations that have a row of their own; mostly there are none.
local tracked = meta[5] and cmsgpack.unpack(meta[5])

-- Time is the server's, so that all machines have one; a test brings its own.
local wall, steady
if A[5] ~= '' then
  wall, steady = tonumber(A[5]), tonumber(A[6])
else
  local time = redis.call('TIME')
  wall = time[1] * 1000000 + time[2]
  steady = wall
end
local utc_day = math.floor(wall / 86400000000) + EPOCH
local day = utc_day  -- that of its zone, while a charge is judged
local second = math.floor(steady / 1000000)
"""

_CHECK = """
-- What is of another release's format is not touched, but that what is older may be replaced.
if format ~= FORMAT and (op ~= 'begin' or format > FORMAT) then return {OTHER_FORMAT} end

local function refused()
  if generation ~= asked then return {OTHER_GENERATION, generation} end
  if sequence < seen then return {OLDER, generation} end
end
"""

# A script is run from its top each time, and makes each function of it anew, which costs more than to call it. So what
# nearly every run is for is done before anything else is made.
_BATCH = """
if op == 'batch' then return refused() or batch() end
"""

_DISPATCH = """
-- New counters, in the place of older ones, whose keys are swept up later. DEL comes first, because it is allowed where
-- no memory is left, and what follows the first write of a script is never refused.
if op == 'begin' then
  local number, life, field, name, mine = text(), text(), text(), text(), text()
  local theirs = redis.call('HGET', META, 'installation') or mine
  if theirs ~= mine and theirs ~= '0' and mine ~= '0' then return {FOREIGN} end
  if generation >= asked and meta[1] then return {NOT_NEWER, generation} end
  local before, same_life = redis.call('HGETALL', META), redis.call('HGET', META, 'life') == life
  redis.call('DEL', META)
  redis.call('HSET', META, 'generation', A[2], 'live', '0', 'sequence', number, 'life', life, 'format', FORMAT,
    'installation', mine)
  -- The scripts of other releases are known to this server as long as it lives.
  for i = 1, same_life and #before or 0, 2 do
    if string.sub(before[i], 1, 7) == 'script:' then redis.call('HSET', META, before[i], before[i + 1]) end
  end
  redis.call('HSET', META, field, name)
  if meta[1] then redis.call('SADD', OLD, meta[1]) end
  base = PREFIX .. A[2] .. ':'
  WORKERS = base .. 'workers'
  for _ = 1, int() do
    own = text()
    worker = base .. 'worker:' .. own
    set_worker('0', '0', text(), NOTHING)
  end
  local orgs, count_of_orgs = {}, int()
  for _ = 1, count_of_orgs do orgs[text()] = true end
  if count_of_orgs > 0 then redis.call('HSET', META, 'tracked', cmsgpack.pack(orgs)) end
  return {DONE}
end
if ask[op] then return ask[op]() end
return refused() or change[op]()
"""

_ROWS = f"{lua_rows.WINDOWS}{lua_rows.ROWS}"
_BATCHES = f"{lua_batch.DECIDE}{lua_read.READ}{lua_batch.BATCH}{_CHECK}{_BATCH}"
_SCRIPT = f"{_CONSTANTS}{_HEAD}{_ROWS}{_BATCHES}{lua_changes.ASK}{lua_changes.CHANGE}{_DISPATCH}"


@dataclass(frozen=True, slots=True)
class Release:
    """How one release changes counters, and of which format it takes them to be."""

    text: str
    format: int

    @property
    def field(self) -> str:
        """Of the counters: where the name of this release's script stands."""
        return f"script:{self.digest_of('')[:16]}"

    def script_of(self, name: str) -> str:
        """The script with a name."""
        return f"-- {name}\nlocal FORMAT = {self.format}\n{self.text}"

    def digest_of(self, name: str) -> str:
        """As Redis names that script (EVALSHA)."""
        return digest(self.script_of(name))


def digest(text: str) -> str:
    """As Redis names a script."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


OURS = Release(_SCRIPT, FORMAT)
