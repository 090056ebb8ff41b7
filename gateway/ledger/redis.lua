-- The shared authority: one call decides about all limits of a request (README.md of this folder).
--
-- ARGV: mode (take, peek, refund, return, renew), writer, charge, lease wanted, largest cost, clock, then for each key
--   r  flag  cost(us ticks)  burst(us ticks)  furthest(us ticks)  scale  milli-unit(us ticks)  leasable units
--   q  flag  cost  limit  start  end  leasable units
--   s  flag  cost  limit  ttl
-- flag: 1 is a need in shadow, or in a refund a cost that is owed. clock: empty, but in tests.
-- Answers to take and peek: {status, place, wait, lease, now, then for each key (backlog us, backlog ticks or what
-- the writer was charged, 1 if shadowed)}; status 1 granted, 0 denied, -1 never, -2 the month is another one.
--
-- Every number is an integer below 2^53. A rate's time is (us, ticks) with ticks below the rate's scale: products that
-- could be larger than that are made by doubling, never by multiplying.

local mode, writer, charge = ARGV[1], 'w:' .. ARGV[2], ARGV[3]
local wanted, largest = tonumber(ARGV[4]), tonumber(ARGV[5])
local now, spare = tonumber(ARGV[6]), 3600000
if not now then
  local time = redis.call('TIME')
  now, spare = time[1] * 1000000 + time[2], 1000
end
local LEASE, PAUSE = 1000000, 1000000 -- us
local KEPT, LONGEST = 35 * 86400000, 67 * 86400000 -- ms, a month's counter after its end, and in all

local function add(us, ticks, more_us, more_ticks, scale)
  us, ticks = us + more_us, ticks + more_ticks
  if ticks >= scale then return us + 1, ticks - scale end
  return us, ticks
end

local function subtract(us, ticks, less_us, less_ticks, scale)
  us, ticks = us - less_us, ticks - less_ticks
  if ticks < 0 then return us - 1, ticks + scale end
  return us, ticks
end

local function exceeds(us, ticks, other_us, other_ticks)
  return us > other_us or us == other_us and ticks > other_ticks
end

-- n times (us, ticks)
local function times(n, us, ticks, scale)
  local sum_us, sum_ticks = 0, 0
  while n > 0 do
    if n % 2 == 1 then sum_us, sum_ticks = add(sum_us, sum_ticks, us, ticks, scale) end
    n = math.floor(n / 2)
    us, ticks = add(us, ticks, us, ticks, scale)
  end
  return sum_us, sum_ticks
end

-- The largest number up to `most` of units that fit into (us, ticks).
local function fit(most, us, ticks, unit_us, unit_ticks, scale)
  local powers, n, found = {}, 1, 0
  while n <= most and not exceeds(unit_us, unit_ticks, us, ticks) do
    powers[#powers + 1] = {n, unit_us, unit_ticks}
    n, unit_us, unit_ticks = 2 * n, add(unit_us, unit_ticks, unit_us, unit_ticks, scale)
  end
  for i = #powers, 1, -1 do
    local power = powers[i]
    if found + power[1] <= most and not exceeds(power[2], power[3], us, ticks) then
      found = found + power[1]
      us, ticks = subtract(us, ticks, power[2], power[3], scale)
    end
  end
  return found
end

local function save(key, us, ticks, scale, leases, last)
  if us == 0 and ticks == 0 and leases == '' then
    redis.call('DEL', key)
    return
  end
  local keep = math.ceil(math.max(us, last - now) / 1000) + spare
  redis.call('SET', key, string.format('%.0f %.0f %.0f%s', now + us, ticks, scale, leases),
    'PX', string.format('%.0f', keep))
end

-- The backlog of a bucket, and the leases that may still be spent: their text and their units, and when the last ends.
local function load(key, scale, burst_us, burst_ticks, most_us, most_ticks)
  local text = redis.call('GET', key)
  if not text then return 0, 0, '', 0, 0 end
  local us, ticks, old, rest = string.match(text, '^(%d+) (%d+) (%d+)(.*)$')
  us, ticks, old = tonumber(us), tonumber(ticks), tonumber(old)
  if old ~= scale then -- another rate since: the same moment in its ticks, rounded up
    local left
    ticks, left = times(scale, 0, ticks, old)
    if left > 0 then ticks = ticks + 1 end
    if ticks >= scale then us, ticks = us + 1, ticks - scale end
  end
  us = us - now
  if us < 0 then us, ticks = 0, 0 end
  local is_late = exceeds(us, ticks, most_us, most_ticks) -- the clock was set back: empty, that is all we know
  if is_late then us, ticks = burst_us, burst_ticks end
  local leases, leased, last = '', 0, 0
  if rest ~= '' then
    for name, units, ends in string.gmatch(rest, ' (%S+) (%d+) (%d+)') do
      ends = math.min(tonumber(ends), now + LEASE)
      if ends > now and not (mode == 'return' and name == charge) then
        leases = string.format('%s %s %s %.0f', leases, name, units, ends)
        leased, last = leased + units, math.max(last, ends)
      end
    end
  end
  if is_late and mode ~= 'peek' then save(key, us, ticks, scale, leases, last) end -- else it would stay late
  return us, ticks, leases, leased, last
end

local function count(key, units, ends)
  local used, own = unpack(redis.call('HMGET', key, 'used', writer))
  own = tonumber(own) or 0
  local change = math.max(own + units, 0) - own -- a month gives nothing back that the writer was not charged
  if change == 0 then return end
  redis.call('HINCRBY', key, 'used', string.format('%.0f', change))
  redis.call('HINCRBY', key, writer, string.format('%.0f', change))
  if not used then
    local keep = ends > 0 and (ends - now) / 1000 + KEPT or LONGEST -- a correction does not know when its month ends
    redis.call('PEXPIRE', key, string.format('%.0f', keep))
  end
end

local function release(key, name)
  local units = redis.call('HGET', key .. ':held', name)
  if not units then return end
  redis.call('ZREM', key, name)
  redis.call('HDEL', key .. ':held', name)
  redis.call('HINCRBY', key .. ':held', '', '-' .. units)
end

local function in_use(key)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', string.format('%.0f', now))) do
    release(key, name)
  end
  return tonumber(redis.call('HGET', key .. ':held', '')) or 0
end

local function hold(key, units, ttl)
  redis.call('ZADD', key, string.format('%.0f', now + ttl), charge)
  if units > 0 then
    redis.call('HINCRBY', key .. ':held', charge, string.format('%.0f', units))
    redis.call('HINCRBY', key .. ':held', '', string.format('%.0f', units))
  end
  local keep = string.format('%.0f', math.ceil(ttl / 1000) + spare)
  redis.call('PEXPIRE', key, keep)
  redis.call('PEXPIRE', key .. ':held', keep)
end

local WIDTH = {r = 12, q = 7, s = 5}

if mode ~= 'take' and mode ~= 'peek' then
  local at = 7
  for _, key in ipairs(KEYS) do
    local kind, cost = ARGV[at], tonumber(ARGV[at + 2])
    if kind == 'q' then
      count(key, -cost, tonumber(ARGV[at + 5]))
    elseif kind == 's' then
      if mode == 'renew' then
        in_use(key)
        if redis.call('ZSCORE', key, charge) then hold(key, 0, tonumber(ARGV[at + 4])) end
      else
        release(key, charge)
      end
    else
      local ticks, scale = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 8])
      local most_us, most_ticks = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
      local burst_us, burst_ticks = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
      local us, backlog, leases, _, last = load(key, scale, burst_us, burst_ticks, most_us, most_ticks)
      if ARGV[at + 1] == '1' then
        us, backlog = add(us, backlog, cost, ticks, scale)
        if exceeds(us, backlog, most_us, most_ticks) then us, backlog = most_us, most_ticks end
      else
        us, backlog = subtract(us, backlog, cost, ticks, scale)
        if us < 0 then us, backlog = 0, 0 end
      end
      save(key, us, backlog, scale, leases, last)
    end
    at = at + WIDTH[kind]
  end
  return 1
end

local limits, lease, refuses, wait, never = {}, wanted, 0, 0, 0
local at = 7
for i, key in ipairs(KEYS) do
  local kind = ARGV[at]
  local limit = {kind = kind, at = at, shadow = false}
  local needs, can, free = 0, true, 0
  if kind == 'r' then
    local scale, cost_us, cost_ticks = tonumber(ARGV[at + 8]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local burst_us, burst_ticks = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
    local most_us, most_ticks = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
    local us, ticks, leases, leased, last = load(key, scale, burst_us, burst_ticks, most_us, most_ticks)
    limit.us, limit.ticks, limit.leases, limit.last = us, ticks, leases, last
    can = not exceeds(cost_us, cost_ticks, burst_us, burst_ticks)
    us, ticks = add(us, ticks, cost_us, cost_ticks, scale)
    if exceeds(us, ticks, burst_us, burst_ticks) then
      us, ticks = subtract(us, ticks, burst_us, burst_ticks, scale)
      needs = ticks > 0 and us + 1 or us
    elseif lease > 0 then
      us, ticks = subtract(burst_us, burst_ticks, us, ticks, scale)
      local most = math.min(lease, tonumber(ARGV[at + 11]) - leased)
      free = fit(most, us, ticks, tonumber(ARGV[at + 9]), tonumber(ARGV[at + 10]), scale)
    end
  elseif kind == 'q' then
    local cost, most, ends = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 5])
    if now < tonumber(ARGV[at + 4]) or now >= ends then return {-2, 0, 0, 0, now} end
    local found = redis.call('HMGET', key, 'used', writer)
    limit.us, limit.ticks = tonumber(found[1]) or 0, tonumber(found[2]) or 0
    can = cost <= most
    if limit.us + cost > most then needs = ends - now end
    free = math.max(math.min(tonumber(ARGV[at + 6]), most - limit.us - cost), 0)
  else
    local cost, most = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    limit.us, limit.ticks = in_use(key), 0
    can = cost <= most
    if limit.us + cost > most then needs = PAUSE end
  end
  if ARGV[at + 1] == '1' then
    limit.shadow = needs > 0 or not can
  elseif not can then
    if never == 0 then never = i end
  elseif needs > wait then
    wait, refuses = needs, i
  end
  lease = math.min(lease, free)
  limits[i] = limit
  at = at + WIDTH[kind]
end

local answer = {1, 0, 0, 0, now}
if never > 0 then
  answer = {-1, never - 1, 0, 0, now}
elseif wait > 0 then
  answer = {0, refuses - 1, wait, 0, now}
else
  if lease < largest then lease = 0 end
  answer[4] = lease
end
for i, key in ipairs(KEYS) do
  local limit = limits[i]
  local us, ticks, from = limit.us, limit.ticks, limit.at
  if answer[1] == 1 and not limit.shadow then
    local cost = tonumber(ARGV[from + 2])
    if limit.kind == 'r' then
      local scale = tonumber(ARGV[from + 8])
      us, ticks = add(us, ticks, cost, tonumber(ARGV[from + 3]), scale)
      local leases, last = limit.leases, limit.last
      if lease > 0 then
        local more_us, more_ticks = times(lease, tonumber(ARGV[from + 9]), tonumber(ARGV[from + 10]), scale)
        us, ticks = add(us, ticks, more_us, more_ticks, scale)
        leases = string.format('%s %s %.0f %.0f', leases, charge, lease, now + LEASE)
        last = now + LEASE
      end
      if mode == 'take' then save(key, us, ticks, scale, leases, last) end
    elseif limit.kind == 'q' then
      us, ticks = us + cost + lease, ticks + cost + lease
      if mode == 'take' then count(key, cost + lease, tonumber(ARGV[from + 5])) end
    else
      us = us + cost
      if mode == 'take' and cost > 0 then hold(key, cost, tonumber(ARGV[from + 4])) end
    end
  end
  local n = #answer
  answer[n + 1], answer[n + 2], answer[n + 3] = us, ticks, limit.shadow and 1 or 0
end
return answer
