-- The arithmetic of gcra.py, windows.py and leases.py once more, for the inside of Redis. It goes before each
-- of the scripts, with a line before it that sets `now`, in ticks of 10 µs since 1970.

local MAX_LEVEL = 6004799503160661   -- gcra.MAX_LEVEL
local MOST = 4503599627370496        -- EXACT / 2
local BACKWARD = 30000000            -- windows.BACKWARD
local SECOND = 100000
local TICKS = {second = SECOND, minute = 60 * SECOND, hour = 3600 * SECOND, day = 86400 * SECOND}

-- Quotient rounded up; fmod is exact where the quotient of large doubles is not.
local function ceil_div(a, b)
  local rest = math.fmod(a, b)
  return (a - rest) / b + (rest > 0 and 1 or 0)
end

local function in_ms(ticks)
  return ceil_div(ticks, 100)
end

-- Days since 1970 of the first of a month, and the month of a day.
-- Source: https://howardhinnant.github.io/date_algorithms.html, for years after 0.
local function first_of(year, month)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local doy = math.floor((153 * ((month + 9) % 12) + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function month_of(days)
  days = days + 719468
  local era = math.floor(days / 146097)
  local doe = days - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local month = (math.floor((5 * doy + 2) / 153) + 2) % 12 + 1
  return yoe + era * 400 + (month <= 2 and 1 or 0), month
end

local function bounds(period, wall)
  if period ~= 'month' then
    local begin = wall - math.fmod(wall, TICKS[period])
    return begin, begin + TICKS[period]
  end
  local year, month = month_of(math.floor(wall / TICKS.day))
  local after = month == 12 and first_of(year + 1, 1) or first_of(year, month + 1)
  return first_of(year, month) * TICKS.day, after * TICKS.day
end

local function read(key)
  local text = redis.call('GET', key)
  if not text then return 0, 0 end
  local used, at = string.match(text, '^(%d+):(%d+)$')
  return tonumber(used), tonumber(at)
end

local function write(key, used, at, ms)
  if used > 0 then
    redis.call('SET', key, string.format('%.0f:%.0f', used, at), 'PX', string.format('%.0f', ms))
  else
    redis.call('DEL', key)
  end
end

local KINDS = {}

KINDS.rate = {
  advance = function(b)
    b.used, b.at = read(b.key)
    local elapsed = now - b.at
    b.at = now
    if elapsed > 0 then
      -- Where the product is too large to be exact, it is larger than any level all the same.
      b.used = math.max(0, b.used - elapsed * b.amount)
    elseif elapsed < 0 then
      -- The clock was set back: from here on it leaks, even if nothing is taken now.
      KINDS.rate.charge(b, 0)
    end
  end,
  wait = function(b)
    if b.burst == 0 then return SECOND end
    local over = b.used + (b.units - b.burst) * b.ticks
    return over > 0 and ceil_div(over, b.amount) or 0
  end,
  charge = function(b, units)
    b.used = math.min(MAX_LEVEL, math.max(0, b.used + units * b.ticks))
    write(b.key, b.used, b.at, in_ms(ceil_div(b.used, b.amount)) + 1000)
  end,
  remaining = function(b) return math.max(0, math.floor((b.burst * b.ticks - b.used) / b.ticks)) end,
  reset = function(b) return ceil_div(b.used, b.amount) end,
  mark = function() return 0 end,
}

KINDS.window = {
  advance = function(b)
    b.used, b.at = read(b.key)
    local begin = bounds(b.period, now)
    if begin < b.at and b.at - now <= BACKWARD then return end
    if begin == b.at then return end
    local was_ahead = begin < b.at
    b.at = begin
    if was_ahead then KINDS.window.charge(b, 0) else b.used = 0 end
  end,
  wait = function(b)
    if b.used + b.units <= b.amount and b.amount > 0 then return 0 end
    return KINDS.window.reset(b)
  end,
  charge = function(b, units, mark)
    if units < 0 and mark and mark ~= b.at then return end
    b.used = math.min(MOST, math.max(0, b.used + units))
    -- Kept a little longer than the window, in case the clock is set back.
    write(b.key, b.used, b.at, in_ms(KINDS.window.reset(b) + 2 * BACKWARD))
  end,
  remaining = function(b) return math.max(0, b.amount - b.used) end,
  reset = function(b)
    local _, after = bounds(b.period, b.at)
    return after - now
  end,
  mark = function(b) return b.at end,
}

KINDS.streams = {
  advance = function(b)
    redis.call('ZREMRANGEBYSCORE', b.key, '-inf', string.format('%.0f', now))
    b.used = redis.call('ZCARD', b.key)
  end,
  wait = function(b) return b.used + b.units <= b.amount and 0 or SECOND end,
  remaining = function(b) return math.max(0, b.amount - b.used) end,
  reset = function(b) return b.used > 0 and SECOND or 0 end,
  mark = function() return 0 end,
}

local function open_stream(key, lease, ticks)
  redis.call('ZADD', key, string.format('%.0f', now + ticks), lease)
  redis.call('PEXPIRE', key, string.format('%.0f', in_ms(ticks) + 1000))
end

-- A bucket from five arguments: kind, units, amount, burst, period.
local function bucket(key, at)
  return {
    key = key, kind = KINDS[ARGV[at]], units = tonumber(ARGV[at + 1]),
    amount = tonumber(ARGV[at + 2]), burst = tonumber(ARGV[at + 3]),
    period = ARGV[at + 4], ticks = TICKS[ARGV[at + 4]], is_streams = ARGV[at] == 'streams',
  }
end
