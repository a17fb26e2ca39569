"""What is asked of the counters and what changes them, in the language that Redis runs."""

DECIDE = """
-- What refuses a charge before its request is counted

local orgs = {}
local summed = {}  -- by row: a reset, and what is spent and held in its period; only charges have changed it since

local function decide(one, charge)
  local known = orgs[charge.org]
  if not known then
    known = tonumber(redis.call('HGET', ORGS, charge.org) or '0')
    orgs[charge.org] = known
  end
  local fresh = charge.loaded_in == generation
  if charge.org_version ~= known then
    if known == 0 and not fresh then return MISSING end
    if charge.org_version < known then return STALE end
    orgs[charge.org] = charge.org_version
    redis.call('HSET', ORGS, charge.org, charge.org_version_text)
  end
  if charge.version ~= one[1] then
    if one[1] == 0 and not fresh then return MISSING end
    if charge.version < one[1] then return STALE end
    one[1] = charge.version
  end
  if charge.limit == NONE then
    if not live and charge.rpm ~= NONE then return REBUILDING end
    return nil
  end
  if not live then return REBUILDING end
  if one[2] == 0 then
    if not charge.lifetime or not fresh then return UNSEEDED end
    seed(one, charge.lifetime, charge.days)
  end
  local now = summed[one]
  if not now or now.reset ~= charge.reset then
    now = {reset = charge.reset, spent = 0, held = 0}
    now.spent, now.held = sums(one, charge.reset)
    summed[one] = now
  end
  local spent, held = now.spent, now.held
  local needed = spent + held + charge.bound
  if needed <= charge.limit then return nil, spent, held end
  if charge.rpm ~= NONE and weigh(one) >= charge.rpm then return RATE_LIMITED end
  if spent + charge.bound > charge.limit then return SPEND_EXCEEDED, spent, held end
  return SPEND_HELD, spent, held, 1 + math.min(4, math.floor(4 * (needed - charge.limit) / held))
end

local function read_charge()
  -- All in one go, because a table that grows is made anew each time that it doubles. They are read in this order.
  local charge = {
    key = text(), org = text(), version = int(), org_version_text = A[at], org_version = int(), rpm = int(),
    limit = int(), reset = text(), bound = int(), loaded_in = int(), seq = int(), lifetime = false, days = false,
  }
  if int() == 1 then charge.lifetime, charge.days = read_seed() end
  return charge
end

local function end_of(number, uncount_allowed, with_hold)
  local key, of_day, held, cost, uncount = text(), int(), int(), int(), int()
  if not number then return end
  local one = row(key)
  spend(one, of_day, cost)
  hold(one, of_day, with_hold and -held or 0)
  if uncount >= 0 then count(one[5], uncount, -1) end
end
"""

BATCH = """
-- A worker's batch

local worker = base .. 'worker:' .. own

local function batch()
  local known = redis.call('HMGET', worker, 'joined', 'batch', 'end_number')
  if known[1] ~= '1' then return {UNKNOWN_WORKER} end
  local number, number_text = int(), A[at - 1]
  local before, ended = tonumber(known[2]), tonumber(known[3])
  if before == number then return {DONE, wall, steady, 1, cmsgpack.unpack(redis.call('HGET', worker, 'admitted'))} end
  if before ~= number - 1 then return {BATCHES_MISSING} end
  local ended_text = known[3]
  for _ = 1, int() do
    local n = int()
    local told = n > 0 and n <= ended
    if n > ended then ended, ended_text = n, A[at - 1] end
    end_of(not told, true, true)
  end
  local decisions, admitted, total = {}, {}, int()
  for index = 1, total do
    local charge = read_charge()
    local one = row(charge.key)
    local code, spent, held, wait = decide(one, charge)
    local used, room = NONE, NONE
    if not code then
      used = weigh(one)
      if charge.rpm ~= NONE and used >= charge.rpm then
        code = RATE_LIMITED
      else
        count(one[5], second, 1)
        used, code = used + 1, ADMITTED
        local bound = charge.bound
        if bound > 0 then
          hold(one, day, bound)
          -- Today is in every period.
          local now = summed[one]
          if now then now.held = now.held + bound end
          if held then held = held + bound end
        end
        local n = #admitted
        admitted[n + 1], admitted[n + 2], admitted[n + 3] = index - 1, charge.seq, charge.key
        admitted[n + 4], admitted[n + 5], admitted[n + 6] = day, second, charge.bound
      end
    end
    if code == RATE_LIMITED then used, room = weigh(one), makes_room(one, charge.rpm) end
    local n = #decisions
    decisions[n + 1], decisions[n + 2], decisions[n + 3], decisions[n + 4] = code, used, last(one), room
    decisions[n + 5], decisions[n + 6], decisions[n + 7] = spent or 0, held or 0, wait or 0
  end
  write()
  redis.call('HSET', worker, 'batch', number_text, 'end_number', ended_text, 'admitted', cmsgpack.pack(admitted))
  return {DONE, wall, steady, 0, decisions, wrote()}
end
"""

ASK = """
-- What may be asked

local ask = {}

function ask.status()
  if not meta[1] then return {OTHER_GENERATION, 0} end
  local missing = {}
  for _, id in ipairs(redis.call('SMEMBERS', WORKERS)) do
    if redis.call('HGET', base .. 'worker:' .. id, 'joined') == '0' then missing[#missing + 1] = id end
  end
  table.sort(missing)
  local whose = redis.call('HGET', META, 'installation') or '0'
  return {DONE, generation, live and 1 or 0, sequence, missing, whose}
end

function ask.rows()
  local found = {}
  for i = 1, int() do
    local data = redis.call('GET', base .. 'key:' .. text())
    found[i] = data and cmsgpack.unpack(data) or false
  end
  return {DONE, found}
end

-- One piece of what older counters left; 1 while there may be more.
function ask.sweep()
  local old = redis.call('SRANDMEMBER', OLD)
  if not old then return {DONE, 0} end
  local its = PREFIX .. old .. ':'
  local ids = redis.call('SPOP', its .. 'keys', 500)
  for _, id in ipairs(ids) do redis.call('UNLINK', its .. 'key:' .. id) end
  if #ids > 0 then return {DONE, 1} end
  for _, id in ipairs(redis.call('SMEMBERS', its .. 'workers')) do redis.call('UNLINK', its .. 'worker:' .. id) end
  redis.call('UNLINK', its .. 'workers', its .. 'orgs')
  redis.call('SREM', OLD, old)
  return {DONE, 1}
end

function ask.org() return {DONE, tonumber(redis.call('HGET', ORGS, own) or '0')} end

function ask.worker()
  if not meta[1] then return {OTHER_GENERATION, 0} end
  local found = redis.call('HMGET', base .. 'worker:' .. own, 'joined', 'end_number', 'admitted')
  if not found[1] then return {DONE, false} end
  return {DONE, {tonumber(found[1]), tonumber(found[2]), cmsgpack.unpack(found[3])}}
end

-- `joined` of a worker is 0 until it has told what it holds, then 1. It is 2 while its machine is away: then what that
-- machine had posted stands in the counters, and in `posted` of the worker, who takes it back.
local NOTHING = cmsgpack.pack({})

local function set_worker(joined, number, end_number, admitted)
  redis.call('HSET', worker, 'joined', joined, 'batch', number, 'end_number', end_number, 'admitted', admitted)
  redis.call('SADD', WORKERS, own)
end
"""

CHANGE = """
-- What changes the counters; the right ones only

local change = {}

local function take_posted_back(posted)
  if not posted then return end
  local all = cmsgpack.unpack(posted)
  for i = 1, #all, 3 do hold(row(all[i]), all[i + 1], -all[i + 2]) end
  redis.call('HDEL', worker, 'posted')
end

function change.fence()
  if redis.call('HGET', worker, 'joined') ~= '0' then return {DONE, sequence} end
  local posted = {}
  for _ = 1, int() do
    local key, of_day, nanos = text(), int(), int()
    hold(row(key), of_day, nanos)
    local n = #posted
    posted[n + 1], posted[n + 2], posted[n + 3] = key, of_day, nanos
  end
  write()
  redis.call('HSET', worker, 'joined', '2', 'posted', cmsgpack.pack(posted))
  return {DONE, wrote()}
end

function change.register()
  local known = redis.call('HMGET', worker, 'joined', 'end_number', 'posted')
  if known[1] == '1' then return {DONE, sequence} end
  take_posted_back(known[3])
  write()
  set_worker('1', '0', known[2] or '0', NOTHING)
  return {DONE, wrote()}
end

local function bring_used()
  for _ = 1, int() do
    local one = row(text())
    count(one[5], int(), int())
  end
end

function change.join()
  local known = redis.call('HMGET', worker, 'joined', 'end_number', 'posted')
  if not known[1] then return {UNKNOWN_WORKER} end
  if known[1] == '1' then return {DONE, sequence} end
  take_posted_back(known[3])
  local end_text, seen_end = text(), tonumber(known[2])
  for _ = 1, int() do end_of(int() > seen_end, true, false) end
  for _ = 1, int() do
    local one = row(text())
    hold(one, int(), int())
  end
  bring_used()
  write()
  set_worker('1', '0', end_text, NOTHING)
  return {DONE, wrote()}
end

function change.close()
  local known = redis.call('HMGET', worker, 'joined', 'end_number', 'posted')
  if not known[1] then return {DONE, sequence, 0} end
  take_posted_back(known[3])
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
  return {DONE, wrote(), 1}
end

function change.restore_requests() bring_used(); write(); return {DONE, wrote()} end

function change.live() redis.call('HSET', META, 'live', '1'); return {DONE, wrote()} end

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
  return {DONE, wrote()}
end

function change.seed()
  for _ = 1, int() do
    local one = row(text())
    seed(one, read_seed())
  end
  write()
  return {DONE, wrote()}
end
"""
