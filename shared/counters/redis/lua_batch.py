"""A worker's batch, in the language that Redis runs: `shared.counters.bookings` and the judgement of rows once more."""

DECIDE = """
-- What refuses a charge before its request is counted

local orgs = {}
-- By row: a reset and a day, and what is spent and held in that period; only charges have changed it since.
local summed = {}

local function money(one, limit, reset, bound, rpm)
  local now = summed[one]
  if not now or now.reset ~= reset or now.day ~= day then
    now = {reset = reset, day = day, spent = 0, held = 0}
    now.spent, now.held = sums(one, reset)
    summed[one] = now
  end
  local spent, held = now.spent, now.held
  local needed = spent + held + bound
  if needed <= limit then return nil, spent, held end
  if rpm ~= NONE and weigh(one) >= rpm then return RATE_LIMITED end
  if spent + bound > limit then return SPEND_EXCEEDED, spent, held end
  return SPEND_HELD, spent, held, 1 + math.min(4, math.floor(4 * (needed - limit) / held))
end

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
  if charge.limit == NONE and charge.most == NONE and not charge.tpm then
    if not live and charge.rpm ~= NONE then return REBUILDING end
    return nil
  end
  if not live then return REBUILDING end
  if charge.tpm and charge.tokens > 0 then
    if weigh_at(one, 7) + charge.tokens > charge.tpm then
      if charge.tokens <= charge.tpm and charge.rpm ~= NONE and weigh(one) >= charge.rpm then return RATE_LIMITED end
      return TOKEN_RATE_LIMITED
    end
  end
  if charge.most ~= NONE and one[6] >= charge.most then
    if charge.rpm ~= NONE and weigh(one) >= charge.rpm then return RATE_LIMITED end
    return TOO_MANY_CONCURRENT, 0, 0, one[6]
  end
  if charge.limit == NONE then return nil end
  if one[2] == 0 then
    if not charge.lifetime or not fresh then return UNSEEDED end
    seed(one, charge.lifetime, charge.days)
  end
  return money(one, charge.limit, charge.reset, charge.bound, charge.rpm)
end

-- Of a charge that its key's own limits admit, by those for its model
local function decide_models(one, charge)
  if not live then return REBUILDING end
  for i, limit in ipairs(charge.models) do
    if limit.since > generation then return REBUILDING end
    local counted = row(limit.row)
    if counted[2] == 0 then return OF_MODEL * i + UNSEEDED end
    local code, spent, held, wait = money(counted, limit.limit, limit.reset, charge.bound, NONE)
    if code then
      if charge.rpm ~= NONE and weigh(one) >= charge.rpm then return RATE_LIMITED end
      return OF_MODEL * i + code, spent, held, wait
    end
  end
end

-- Likewise, by those of its organisation
local function decide_shared(charge)
  if not live or not tracked or not tracked[charge.org] then return REBUILDING end
  local one, code, spent, held, wait = row(charge.org), nil, 0, 0, 0
  if charge.org_limit ~= NONE then
    if one[2] == 0 then return OF_ORGANIZATION + UNSEEDED end
    code, spent, held, wait = money(one, charge.org_limit, charge.org_reset, charge.bound, charge.org_rpm)
  end
  if not code and charge.org_rpm ~= NONE and weigh(one) >= charge.org_rpm then code = RATE_LIMITED end
  return code and OF_ORGANIZATION + code, spent, held, wait
end
"""

BATCH = """
local worker = base .. 'worker:' .. own

-- Hold a bound today, which is in every period of this day
local function hold_bound(one, bound, requests)
  hold(one, day, bound, requests)
  local now = summed[one]
  if not now then return end
  if now.day ~= day then
    summed[one] = nil
    return
  end
  now.held = now.held + bound
  return now
end

-- What an organisation has spent and held, once a charge is booked on its row too
local function book_shared(charge)
  local one = row(charge.org)
  weigh(one)
  tally(one, 5, 1)
  local now = hold_bound(one, charge.bound, 1)
  if not now then return 0, 0 end
  return now.spent, now.held
end

local function batch()
  local known = redis.call('HMGET', worker, 'joined', 'batch', 'end_number')
  if known[1] ~= '1' then return {UNKNOWN_WORKER} end
  local number, number_text = int(), A[at - 1]
  local before, ended = tonumber(known[2]), tonumber(known[3])
  if before == number then
    return {DONE, wall, steady, REPEATED, cmsgpack.unpack(redis.call('HGET', worker, 'admitted'))}
  end
  if before ~= number - 1 then return {BATCHES_MISSING} end
  local ended_text = known[3]
  for _ = 1, int() do
    local n = int()
    local told = n > 0 and n <= ended
    if n > ended then ended, ended_text = n, A[at - 1] end
    end_of(not told, true)
  end
  local decisions, admitted, total, of_tokens = {}, {}, int(), nil
  if total < 0 then
    total = -total
    -- Nothing is written yet. The worker asks again at once, by this clock.
    if wall < int() * 1000000 or wall >= int() * 1000000 then return {DONE, wall, steady, OTHER_DAY} end
  end
  for index = 1, total do
    local charge = read_charge()
    local one = row(charge.key)
    local code, spent, held, wait = decide(one, charge)
    if not code and charge.models then
      local refused, of_spent, of_held, of_wait = decide_models(one, charge)
      if refused then code, spent, held, wait = refused, of_spent, of_held, of_wait end
    end
    local used, room, whose, rpm, org_spent, org_held = NONE, NONE, one, charge.rpm, 0, 0
    if not code and charge.shared then
      if rpm ~= NONE and weigh(one) >= rpm then
        code = RATE_LIMITED
      else
        local refused, of_spent, of_held, of_wait = decide_shared(charge)
        if refused then code, spent, held, wait = refused, of_spent, of_held, of_wait end
        if refused and refused > OF_ORGANIZATION then whose, rpm = row(charge.org), charge.org_rpm end
      end
    end
    if not code then
      used = weigh(one)
      if rpm ~= NONE and used >= rpm then
        code = RATE_LIMITED
      else
        used, code = tally(one, 5, 1), ADMITTED
        local bound, its_org, its_rows = charge.bound, '', {}
        one[6] = one[6] + 1
        if bound > 0 then
          hold_bound(one, bound, 0)
          if held then held = held + bound end
        end
        if charge.models then
          for i, limit in ipairs(charge.models) do
            hold_bound(rows[limit.row], bound, 0)
            its_rows[i] = limit.row
          end
        end
        if tracked and tracked[charge.org] then
          org_spent, org_held = book_shared(charge)
          its_org = charge.org
        end
        local n = #admitted
        admitted[n + 1], admitted[n + 2], admitted[n + 3] = index - 1, charge.seq, charge.key
        admitted[n + 4], admitted[n + 5], admitted[n + 6], admitted[n + 7] = day, second, charge.bound, its_org
        admitted[n + 8] = its_rows
      end
    end
    if code % OF_ORGANIZATION == RATE_LIMITED then used, room = weigh(whose), makes_room(whose[5], rpm, 1) end
    if charge.tpm then
      local weighing = weigh_at(one, 7)
      if code == ADMITTED and charge.tokens > 0 then weighing = tally(one, 7, charge.tokens) end
      local all = one[7]
      of_tokens = of_tokens or {}
      local n = #of_tokens
      of_tokens[n + 1], of_tokens[n + 2], of_tokens[n + 3] = index - 1, weighing, all[#all - 1] or NONE
      of_tokens[n + 4] = code == TOKEN_RATE_LIMITED and makes_room(all, charge.tpm, charge.tokens) or NONE
    end
    local n = #decisions
    decisions[n + 1], decisions[n + 2], decisions[n + 3], decisions[n + 4] = code, used, last(whose), room
    decisions[n + 5], decisions[n + 6], decisions[n + 7] = spent or 0, held or 0, wait or 0
    decisions[n + 8], decisions[n + 9] = org_spent, org_held
  end
  if of_tokens then
    for i = 1, #of_tokens do decisions[#decisions + 1] = of_tokens[i] end
  end
  day = utc_day
  write()
  redis.call('HSET', worker, 'batch', number_text, 'end_number', ended_text, 'admitted', cmsgpack.pack(admitted))
  return {DONE, wall, steady, APPLIED, decisions, wrote()}
end
"""
