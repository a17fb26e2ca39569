"""The charges and ends of a batch as they are read from its arguments, in the language that Redis runs.

What differs from the one before in little but its amounts is sent without the rest: most of a batch is of few keys.
"""

READ = """
local starts  -- by day: its `since`, once there are charges of several days

local function enter_day(there)
  if there == day then return end
  starts = starts or {}
  starts[day] = since
  day, since = there, starts[there] or {}
end

local latest  -- charge that was read

local function read_charge()
  local version = int()
  if version == AGAIN then  -- but for these
    latest.bound, latest.seq, latest.lifetime, latest.days = int(), int(), false, false
    if latest.tpm then latest.tokens = int() end
    return latest
  end
  -- All in one go, because a table that grows is made anew each time that it doubles. They are read in this order.
  local charge = {
    version = version, key = text(), org = text(), org_version_text = A[at], org_version = int(), rpm = int(),
    limit = int(), reset = text(), bound = int(), loaded_in = int(), seq = int(), most = int(), shared = int(),
    lifetime = false, days = false, org_rpm = NONE, org_limit = NONE, org_reset = false, tpm = false, tokens = 0,
    models = false,
  }
  if charge.shared >= DAY_FOLLOWS then
    charge.shared = charge.shared - DAY_FOLLOWS
    enter_day(int())
  else
    enter_day(utc_day)
  end
  local more = charge.shared >= ROWS_FOLLOW
  if more then charge.shared = charge.shared - ROWS_FOLLOW end
  if charge.shared >= TOKENS_FOLLOW then
    charge.shared = charge.shared - TOKENS_FOLLOW
    charge.tpm, charge.tokens = int(), int()
  end
  charge.shared = charge.shared == 1
  if more then
    charge.models = {}
    for i = 1, int() do charge.models[i] = {row = text(), limit = int(), reset = text(), since = int()} end
  end
  if charge.shared then charge.org_rpm, charge.org_limit, charge.org_reset = int(), int(), text() end
  if int() == 1 then charge.lifetime, charge.days = read_seed() end
  latest = charge
  return charge
end

local function end_row(one, of_day, held, cost, uncount, requests)
  local place, days = entry(one, of_day), one[4]
  days[place + 1] = math.min(days[place + 1] + cost, MAX)
  days[place + 2] = math.min(math.max(0, days[place + 2] - held), MAX)
  one[3] = math.min(one[3] + cost, MAX)
  one[6] = math.max(0, one[6] - requests)
  if uncount >= 0 then
    totals[one[5]] = nil
    count(one[5], uncount, -1)
  end
end

local function read_rows()
  local all = {}
  for i = 1, int() do all[i] = text() end
  return all
end

local latest_end = {}  -- of the latest end: its key, day, organisation and further rows

local function end_of(number, with_hold)
  local of_second, tokens
  local of_day = int()
  local again = of_day == AGAIN
  if not again then latest_end = {text(), of_day} end
  local held, cost, uncount, requests = int(), int(), int(), int()
  if not again then latest_end[3] = text() end
  local more = requests >= ROWS_FOLLOW
  if more then requests = requests - ROWS_FOLLOW end
  if requests >= TOKENS_FOLLOW then requests, of_second, tokens = requests - TOKENS_FOLLOW, int(), int() end
  if more then latest_end[4] = read_rows() end
  if not number then return end
  local key, org, counted = latest_end[1], latest_end[3], latest_end[4]
  of_day = latest_end[2]
  if not with_hold then held, requests, tokens = 0, 0, nil end
  end_row(row(key), of_day, held, cost, uncount, requests)
  if counted then
    for _, id in ipairs(counted) do end_row(row(id), of_day, held, cost, NONE, 0) end
  end
  if tokens then
    local one = row(key)
    one[7] = one[7] or {}
    totals[one[7]] = nil
    count(one[7], of_second, tokens)
  end
  if tracked and tracked[org] then end_row(row(org), of_day, held, cost, uncount, requests) end
end
"""
