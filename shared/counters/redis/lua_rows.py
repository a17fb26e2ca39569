"""A key's row, in the language that Redis runs: its money by day, its requests of the last minute, its periods.

It is `shared.counters.rows` once more. A row is packed of version, seeded, lifetime, `{day, spent, held, ...}`, the
window `{second, requests, ...}`, the requests in flight and, if the key has or had a limit of tokens, their window
`{second, tokens, ...}`. Numbers are doubles, exact below 2**53.
"""

# Nothing here knows the script around it, so that the storage of `limits` can use it as well.
WINDOWS = """
local function weighed(all, now, seconds)
  local total, n = 0, #all
  if n > 0 and (all[1] < now - seconds or all[n - 1] > now) then
    local kept, late = {}, 0
    for i = 1, n, 2 do
      if all[i] > now then
        late = late + all[i + 1]
      elseif all[i] >= now - seconds then
        kept[#kept + 1] = all[i]
        kept[#kept + 1] = all[i + 1]
      end
    end
    if late > 0 then
      if kept[#kept - 1] == now then
        kept[#kept] = kept[#kept] + late
      else
        kept[#kept + 1] = now
        kept[#kept + 1] = late
      end
    end
    all, n = kept, #kept
  end
  for i = 2, n, 2 do total = total + all[i] end
  return all, total
end

local function count(all, of_second, requests)
  local place = 1
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
"""

# Needs: base, day, second, and the constants of `script`.
ROWS = """
local rows, read, made = {}, {}, {}

local function row(id)
  local found = rows[id]
  if not found then
    local data = redis.call('GET', base .. 'key:' .. id)
    found = data and cmsgpack.unpack(data) or {0, 0, 0, {}, {}, 0}
    rows[id] = found
    read[#read + 1] = id
    if not data then made[#made + 1] = id end
  end
  return found
end

local function write()
  for _, id in ipairs(read) do
    local one = rows[id]
    local all = one[4]
    for i = #all - 2, 1, -3 do
      if all[i] <= day - KEEP_DAYS and all[i + 2] <= 0 then
        for _ = 1, 3 do table.remove(all, i) end
      end
    end
    if one[7] then
      local left = weighed(one[7], second, WINDOW)
      one[7] = #left > 0 and left or nil
    end
    redis.call('SET', base .. 'key:' .. id, cmsgpack.pack(one))
  end
  -- Whoever takes these counters away one day has to know which rows there are.
  for _, id in ipairs(made) do redis.call('SADD', base .. 'keys', id) end
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

local function hold(one, of_day, nanos, requests)
  local place = entry(one, of_day) + 2
  one[4][place] = math.min(math.max(0, one[4][place] + nanos), MAX)
  if requests ~= 0 then one[6] = math.max(0, one[6] + requests) end
end

-- By window: what weighs in it now. It is the same moment all along; who changes one but by `tally` forgets it here.
local totals = {}

local function weigh_at(one, place)
  local all = one[place] or {}
  local total = totals[all]
  if not total then
    all, total = weighed(all, second, WINDOW)
    one[place], totals[all] = all, total
  end
  return total
end

local function weigh(one) return weigh_at(one, 5) end

-- Count something now that was weighed before
local function tally(one, place, amount)
  local all = one[place]
  count(all, second, amount)
  totals[all] = totals[all] + amount
  return totals[all]
end

local function last(one) return one[5][#one[5] - 1] or NONE end

local function makes_room(all, limit, more)
  local left = 0
  for i = 2, #all, 2 do left = left + all[i] end
  for i = 1, #all, 2 do
    left = left - all[i + 1]
    if left + more <= limit then return all[i] end
  end
  return NONE
end

-- Periods as ordinals [from, to); without an end all that was ever spent counts

local function month_start(of_day)
  -- Days since 0000-03-01 fall into equal eras of 400 years.
  local z = of_day - EPOCH + 719468
  local doe = z % 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  return of_day - (doy - math.floor((153 * mp + 2) / 5))
end

local since = {}

local function sums(one, reset)
  local days, spent, held = one[4], 0, 0
  if reset == 'never' then
    for i = 3, #days, 3 do held = held + days[i] end
    return one[3], held
  end
  local from = since[reset]
  if not from then
    from = reset == 'daily' and day or reset == 'weekly' and day - day % 7 or month_start(day)
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
"""
