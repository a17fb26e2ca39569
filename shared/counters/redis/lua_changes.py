"""What is asked of the counters, and what changes them besides batches, in the language that Redis runs."""

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
  for i = 1, #all, 6 do
    local of_day, nanos, requests, org = all[i + 1], -all[i + 2], -all[i + 3], all[i + 4]
    hold(row(all[i]), of_day, nanos, requests)
    for _, id in ipairs(all[i + 5]) do hold(row(id), of_day, nanos, 0) end
    if tracked and tracked[org] then hold(row(org), of_day, nanos, requests) end
  end
  redis.call('HDEL', worker, 'posted')
end

-- The next hold that was told, taken back if the sign says so
local function hold_told(sign)
  local key, of_day, nanos, requests, org, counted = text(), int(), int(), int(), text(), read_rows()
  hold(row(key), of_day, sign * nanos, sign * requests)
  for _, id in ipairs(counted) do hold(row(id), of_day, sign * nanos, 0) end
  if tracked and tracked[org] then hold(row(org), of_day, sign * nanos, sign * requests) end
  return key, of_day, nanos, requests, org, counted
end

function change.fence()
  if redis.call('HGET', worker, 'joined') ~= '0' then return {DONE, sequence} end
  local posted = {}
  for _ = 1, int() do
    local n = #posted
    posted[n + 1], posted[n + 2], posted[n + 3], posted[n + 4], posted[n + 5], posted[n + 6] = hold_told(1)
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
    local key, of_second, requests, org, tokens = text(), int(), int(), text(), int()
    local one = row(key)
    count(one[5], of_second, requests)
    if tokens > 0 then
      one[7] = one[7] or {}
      count(one[7], of_second, tokens)
    end
    if tracked and tracked[org] then count(row(org)[5], of_second, requests) end
  end
end

function change.join()
  local known = redis.call('HMGET', worker, 'joined', 'end_number', 'posted')
  if not known[1] then return {UNKNOWN_WORKER} end
  if known[1] == '1' then return {DONE, sequence} end
  take_posted_back(known[3])
  local end_text, seen_end = text(), tonumber(known[2])
  for _ = 1, int() do end_of(int() > seen_end, false) end
  for _ = 1, int() do hold_told(1) end
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
  for _ = 1, int() do end_of(int() > seen_end, joined) end
  for _ = 1, int() do hold_told(joined and -1 or 0) end
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
