"""The one script that is run inside Redis: a batch, or another change of the counters, alone among all machines.

It is the judgement of `rows.py` once more, in the language that Redis runs. Numbers there are doubles, exact below
2**53: amounts come as arguments, go as integer replies or through `cmsgpack`, and are never joined to text (`tostring`,
`..` and `cjson` lose digits from 1e14).

Its first line names one set of counters, so each set has a script, and a digest, of its own. A server keeps scripts in
memory only: one that was restarted, or took over from another, does not know it and says so. That is how counters are
told from an older copy of them, whatever stands between us and the server.

A key's row is `{version, seeded, lifetime, {day, spent, held, ...}, {second, requests, ...}}`, packed.
"""

import hashlib

from shared.counters.rows import KEEP_DAYS, UNIX_EPOCH_DAY, WINDOW_SECONDS
from shared.money import MAX_NANOS

PREFIX = "{enterprise-router}:"  # one hash slot, so that one script can see all of it on a cluster too
META = f"{PREFIX}counters"
FORMAT = "1"

# First element of a reply.
DONE, OTHER_GENERATION, OLDER, UNKNOWN_WORKER, BATCHES_MISSING, NOT_NEWER = range(6)
# An answer to a charge is seven numbers: one of these; requests that weigh, the last second of one, the second whose
# end makes room; spent, held, seconds to wait.
ADMITTED, STALE, MISSING, UNSEEDED, REBUILDING, RATE_LIMITED, SPEND_EXCEEDED, SPEND_HELD = range(8)
ANSWER_FIELDS = 7
NONE = -1  # no limit, no second, no end of a period

_SCRIPT = """
local A, at = ARGV, 7
local META, KEEP_DAYS, WINDOW, MAX, EPOCH = KEYS[1], %(keep)d, %(window)d, %(max)d, %(epoch)d
local op, asked, seen, own = A[1], tonumber(A[2]), tonumber(A[3]), A[4]

local function int() at = at + 1; return tonumber(A[at - 1]) end
local function text() at = at + 1; return A[at - 1] end

local meta = redis.call('HMGET', META, 'generation', 'live', 'sequence')
local generation, live, sequence = tonumber(meta[1] or '0'), meta[2] == '1', tonumber(meta[3] or '0')
local base = '%(prefix)s' .. string.format('%%d', generation) .. ':'
local ORGS, WORKERS = base .. 'orgs', base .. 'workers'

-- Time is the server's, so that all machines have one; a test brings its own.
local wall, steady
if A[5] ~= '' then
  wall, steady = tonumber(A[5]), tonumber(A[6])
else
  local time = redis.call('TIME')
  wall = time[1] * 1000000 + time[2]
  steady = wall
end
local day = math.floor(wall / 86400000000) + EPOCH
local second = math.floor(steady / 1000000)

-- Rows

local rows, read = {}, {}

local function row(id)
  local found = rows[id]
  if not found then
    local data = redis.call('GET', base .. 'key:' .. id)
    found = data and cmsgpack.unpack(data) or {0, 0, 0, {}, {}}
    rows[id] = found
    read[#read + 1] = id
  end
  return found
end

local function write()
  for _, id in ipairs(read) do
    local one, days = rows[id], {}
    local all = one[4]
    for i = 1, #all, 3 do
      if all[i] > day - KEEP_DAYS or all[i + 2] > 0 then
        local n = #days
        days[n + 1], days[n + 2], days[n + 3] = all[i], all[i + 1], all[i + 2]
      end
    end
    one[4] = days
    redis.call('SET', base .. 'key:' .. id, cmsgpack.pack(one))
  end
end

local function wrote() return redis.call('HINCRBY', META, 'sequence', 1) end

local function entry(one, of_day)
  local days = one[4]
  for i = #days - 2, 1, -3 do
    if days[i] == of_day then return i end
  end
  local n = #days
  days[n + 1], days[n + 2], days[n + 3] = of_day, 0, 0
  return n + 1
end

local function hold(one, of_day, nanos)
  local i = entry(one, of_day)
  one[4][i + 2] = math.min(math.max(0, one[4][i + 2] + nanos), MAX)
end

local function spend(one, of_day, nanos)
  local i = entry(one, of_day)
  one[4][i + 1] = math.min(one[4][i + 1] + nanos, MAX)
  one[3] = math.min(one[3] + nanos, MAX)
end

-- A window is {second, requests, ...} in the order of seconds

local function weigh(one)
  local all, total = one[5], 0
  local n = #all
  if n > 0 and (all[1] < second - WINDOW or all[n - 1] > second) then
    local kept, late = {}, 0
    for i = 1, n, 2 do
      if all[i] > second then
        late = late + all[i + 1]
      elseif all[i] >= second - WINDOW then
        kept[#kept + 1] = all[i]
        kept[#kept + 1] = all[i + 1]
      end
    end
    if late > 0 then
      if kept[#kept - 1] == second then
        kept[#kept] = kept[#kept] + late
      else
        kept[#kept + 1] = second
        kept[#kept + 1] = late
      end
    end
    one[5], all, n = kept, kept, #kept
  end
  for i = 2, n, 2 do total = total + all[i] end
  return total
end

local function count(one, of_second, requests)
  local all, place = one[5], 1
  for i = #all - 1, 1, -2 do
    if all[i] == of_second then
      all[i + 1] = all[i + 1] + requests
      if all[i + 1] <= 0 then table.remove(all, i + 1); table.remove(all, i) end
      return
    end
    if all[i] < of_second then place = i + 2; break end
  end
  if requests > 0 then
    table.insert(all, place, of_second)
    table.insert(all, place + 1, requests)
  end
end

local function last(one) return one[5][#one[5] - 1] or %(none)d end

local function makes_room(one, rpm)
  local all = one[5]
  local left = 0
  for i = 2, #all, 2 do left = left + all[i] end
  for i = 1, #all, 2 do
    left = left - all[i + 1]
    if left < rpm then return all[i] end
  end
  return %(none)d
end

-- Periods as ordinals [from, to); without an end all that was ever spent counts

local function month_start(of_day)
  -- Days since 0000-03-01 fall into equal eras of 400 years.
  local z = of_day - EPOCH + 719468
  local doe = z %% 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  return of_day - (doy - math.floor((153 * mp + 2) / 5))
end

local STARTS = {
  daily = function() return day end,
  weekly = function() return day - day %% 7 end,
  monthly = function() return month_start(day) end,
}
local since = {}

local function sums(one, reset)
  local days, spent, held = one[4], 0, 0
  if reset == 'never' then
    for i = 3, #days, 3 do held = held + days[i] end
    return one[3], held
  end
  local from = since[reset]
  if not from then
    from = STARTS[reset]()
    since[reset] = from
  end
  local to = reset == 'daily' and from + 1 or reset == 'weekly' and from + 7 or month_start(from + 32)
  for i = 1, #days, 3 do
    if days[i] >= from and days[i] < to then
      spent = spent + days[i + 1]
      held = held + days[i + 2]
    end
  end
  return spent, held
end

local function seed(one, lifetime, days)
  if one[2] == 1 then return end
  one[2] = 1
  one[3] = math.min(one[3] + lifetime, MAX)
  for i = 1, #days, 2 do
    local place = entry(one, days[i])
    one[4][place + 1] = math.min(one[4][place + 1] + days[i + 1], MAX)
  end
end

local function read_seed()
  local lifetime, days = int(), {}
  for i = 1, 2 * int() do days[i] = int() end
  return lifetime, days
end

-- What refuses a charge before its request is counted

local orgs = {}

local function judge(one, charge)
  local known = orgs[charge.org]
  if not known then
    known = tonumber(redis.call('HGET', ORGS, charge.org) or '0')
    orgs[charge.org] = known
  end
  local fresh = charge.loaded_in == generation
  if charge.org_version ~= known then
    if known == 0 and not fresh then return %(missing)d end
    if charge.org_version < known then return %(stale)d end
    orgs[charge.org] = charge.org_version
    redis.call('HSET', ORGS, charge.org, charge.org_version_text)
  end
  if charge.version ~= one[1] then
    if one[1] == 0 and not fresh then return %(missing)d end
    if charge.version < one[1] then return %(stale)d end
    one[1] = charge.version
  end
  if charge.limit == %(none)d then
    if not live and charge.rpm ~= %(none)d then return %(rebuilding)d end
    return nil
  end
  if not live then return %(rebuilding)d end
  if one[2] == 0 then
    if not charge.lifetime or not fresh then return %(unseeded)d end
    seed(one, charge.lifetime, charge.days)
  end
  local spent, held = sums(one, charge.reset)
  local needed = spent + held + charge.bound
  if needed <= charge.limit then return nil end
  if charge.rpm ~= %(none)d and weigh(one) >= charge.rpm then return %(rate_limited)d end
  if spent + charge.bound > charge.limit then return %(spend_exceeded)d, spent, held end
  return %(spend_held)d, spent, held, 1 + math.min(4, math.floor(4 * (needed - charge.limit) / held))
end

local function read_charge()
  local charge = {key = text(), org = text(), version = int()}
  charge.org_version_text = A[at]
  charge.org_version, charge.rpm, charge.limit, charge.reset = int(), int(), int(), text()
  charge.bound, charge.loaded_in, charge.seq = int(), int(), int()
  if int() == 1 then charge.lifetime, charge.days = read_seed() end
  return charge
end

local function end_of(number, uncount_allowed, with_hold)
  local key, of_day, held, cost, uncount = text(), int(), int(), int(), int()
  if not number then return end
  local one = row(key)
  spend(one, of_day, cost)
  hold(one, of_day, with_hold and -held or 0)
  if uncount >= 0 then count(one, uncount, -1) end
end

-- What may be asked

local ask = {}

function ask.condition()
  if not meta[1] then return {%(other)d, 0} end
  local missing = {}
  for _, id in ipairs(redis.call('SMEMBERS', WORKERS)) do
    if redis.call('HGET', base .. 'worker:' .. id, 'joined') == '0' then missing[#missing + 1] = id end
  end
  table.sort(missing)
  return {%(done)d, generation, live and 1 or 0, sequence, missing}
end

function ask.rows()
  local found = {}
  for i = 1, int() do
    local data = redis.call('GET', base .. 'key:' .. text())
    found[i] = data and cmsgpack.unpack(data) or false
  end
  return {%(done)d, found}
end

function ask.org() return {%(done)d, tonumber(redis.call('HGET', ORGS, own) or '0')} end

function ask.worker()
  local found = redis.call('HMGET', base .. 'worker:' .. own, 'joined', 'end_number', 'admitted')
  if not found[1] then return {%(done)d, false} end
  return {%(done)d, {tonumber(found[1]), tonumber(found[2]), cmsgpack.unpack(found[3])}}
end

local NOTHING = cmsgpack.pack({})
local worker = base .. 'worker:' .. own

local function set_worker(joined, number, end_number, admitted)
  redis.call('HSET', worker, 'joined', joined, 'batch', number, 'end_number', end_number, 'admitted', admitted)
  redis.call('SADD', WORKERS, own)
end

-- What changes the counters; the right ones only

local change = {}

function change.batch()
  local known = redis.call('HMGET', worker, 'joined', 'batch', 'end_number', 'admitted')
  if known[1] ~= '1' then return {%(unknown)d} end
  local number, number_text = int(), A[at - 1]
  local before, ended = tonumber(known[2]), tonumber(known[3])
  if before == number then return {%(done)d, wall, steady, 1, cmsgpack.unpack(known[4])} end
  if before ~= number - 1 then return {%(gap)d} end
  local ended_text = known[3]
  for _ = 1, int() do
    local n = int()
    local told = n > 0 and n <= ended
    if n > ended then ended, ended_text = n, A[at - 1] end
    end_of(not told, true, true)
  end
  local answers, admitted, total = {}, {}, int()
  for index = 1, total do
    local charge = read_charge()
    local one = row(charge.key)
    local code, spent, held, wait = judge(one, charge)
    local used, room = %(none)d, %(none)d
    if not code then
      used = weigh(one)
      if charge.rpm ~= %(none)d and used >= charge.rpm then
        code = %(rate_limited)d
      else
        count(one, second, 1)
        used, code = used + 1, %(admitted)d
        if charge.bound > 0 then hold(one, day, charge.bound) end
        if charge.limit ~= %(none)d then spent, held = sums(one, charge.reset) end
        local n = #admitted
        admitted[n + 1], admitted[n + 2], admitted[n + 3] = index - 1, charge.seq, charge.key
        admitted[n + 4], admitted[n + 5], admitted[n + 6] = day, second, charge.bound
      end
    end
    if code == %(rate_limited)d then used, room = weigh(one), makes_room(one, charge.rpm) end
    local n = #answers
    answers[n + 1], answers[n + 2], answers[n + 3], answers[n + 4] = code, used, last(one), room
    answers[n + 5], answers[n + 6], answers[n + 7] = spent or 0, held or 0, wait or 0
  end
  write()
  redis.call('HSET', worker, 'batch', number_text, 'end_number', ended_text, 'admitted', cmsgpack.pack(admitted))
  return {%(done)d, wall, steady, 0, answers, wrote()}
end

function change.register()
  local known = redis.call('HMGET', worker, 'joined', 'end_number')
  if known[1] == '1' then return {%(done)d, sequence} end
  set_worker('1', '0', known[2] or '0', NOTHING)
  return {%(done)d, wrote()}
end

local function bring_used()
  for _ = 1, int() do
    local one = row(text())
    count(one, int(), int())
  end
end

function change.join()
  local known = redis.call('HMGET', worker, 'joined', 'end_number')
  if not known[1] then return {%(unknown)d} end
  if known[1] == '1' then return {%(done)d, sequence} end
  local end_text, seen_end = text(), tonumber(known[2])
  for _ = 1, int() do end_of(int() > seen_end, true, false) end
  for _ = 1, int() do
    local one = row(text())
    hold(one, int(), int())
  end
  bring_used()
  write()
  set_worker('1', '0', end_text, NOTHING)
  return {%(done)d, wrote()}
end

function change.close()
  local known = redis.call('HMGET', worker, 'joined', 'end_number')
  if not known[1] then return {%(done)d, sequence, 0} end
  local joined, seen_end = known[1] == '1', tonumber(known[2])
  text()
  for _ = 1, int() do end_of(int() > seen_end, true, joined) end
  for _ = 1, int() do
    local one, of_day, nanos = row(text()), int(), int()
    if joined then hold(one, of_day, -nanos) end
  end
  if not joined then bring_used() end
  write()
  redis.call('DEL', worker)
  redis.call('SREM', WORKERS, own)
  return {%(done)d, wrote(), 1}
end

function change.remember() bring_used(); write(); return {%(done)d, wrote()} end

function change.live() redis.call('HSET', META, 'live', '1'); return {%(done)d, wrote()} end

function change.publish()
  for _ = 1, int() do
    local one, version = row(text()), int()
    one[1] = math.max(one[1], version)
  end
  for _ = 1, int() do
    local org, version = text(), int()
    if version > tonumber(redis.call('HGET', ORGS, org) or '0') then redis.call('HSET', ORGS, org, A[at - 1]) end
  end
  write()
  return {%(done)d, wrote()}
end

function change.seed()
  for _ = 1, int() do
    local one = row(text())
    seed(one, read_seed())
  end
  write()
  return {%(done)d, wrote()}
end

-- New counters, in the place of older ones. Their keys carry the generation; the keeper of the house removes the old.
if op == 'begin' then
  if generation >= asked and meta[1] then return {%(not_newer)d, generation} end
  local number, name = text(), text()
  redis.call('DEL', META)
  redis.call('HSET', META, 'generation', A[2], 'live', '0', 'sequence', number, 'name', name, 'format', '%(format)s')
  base = '%(prefix)s' .. A[2] .. ':'
  WORKERS = base .. 'workers'
  for _ = 1, int() do
    own = text()
    worker = base .. 'worker:' .. own
    set_worker('0', '0', text(), NOTHING)
  end
  return {%(done)d}
end
if ask[op] then return ask[op]() end
if generation ~= asked then return {%(other)d, generation} end
if sequence < seen then return {%(older)d, generation} end
return change[op]()
"""

_VALUES = {
    "keep": KEEP_DAYS,
    "window": WINDOW_SECONDS,
    "max": MAX_NANOS,
    "epoch": UNIX_EPOCH_DAY,
    "prefix": PREFIX,
    "format": FORMAT,
    "none": NONE,
    "done": DONE,
    "other": OTHER_GENERATION,
    "older": OLDER,
    "unknown": UNKNOWN_WORKER,
    "gap": BATCHES_MISSING,
    "not_newer": NOT_NEWER,
    "admitted": ADMITTED,
    "stale": STALE,
    "missing": MISSING,
    "unseeded": UNSEEDED,
    "rebuilding": REBUILDING,
    "rate_limited": RATE_LIMITED,
    "spend_exceeded": SPEND_EXCEEDED,
    "spend_held": SPEND_HELD,
}


def script_of(name: str) -> str:
    """The script of the set of counters with a name."""
    return f"-- {name}\n{_SCRIPT % _VALUES}"


def digest_of(name: str) -> str:
    """As Redis names that script (EVALSHA)."""
    return hashlib.sha1(script_of(name).encode(), usedforsecurity=False).hexdigest()
