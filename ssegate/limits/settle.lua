-- Puts right what was reserved, and gives back open streams.
-- KEYS: the buckets. ARGV: for each the five arguments of a bucket and then its mark, or, of streams, the lease,
-- or, of a rate that a replica has taken from alone, what has leaked of that: debts.Leak.

local OUTAGE = '10000'   -- ms; longer than all replicas take to find the server back, shorter than two outages

-- What has leaked twice: from the replica's share, and at the same time from this bucket, for what it had from
-- before. The first replica that is back leaves a note of the level there was, the others go by it: what they
-- tell themselves must not look like it.
local function leaked_twice(b, units, before, ticks)
  local note = b.key .. ':outage'
  local used, at, since, given = string.match(redis.call('GET', note) or '', '^(%d+):(%d+):(%d+):(%d+)$')
  if not used then
    used, at = read(b.key)
    since, given = now, 0
  end
  used, at, since, given = tonumber(used), tonumber(at), tonumber(since), tonumber(given)
  since = math.min(since, now - ticks)
  local function level(moment) return math.max(0, used - (moment - at) * b.amount) end
  -- What replicas that never lost the server have written meanwhile stood at a full bucket before, at the most.
  local stood = math.min(level(since), math.max(used, b.burst * b.ticks))
  given = given + before * b.ticks
  local twice = math.min(units * b.ticks, math.max(0, stood - level(now) - given))
  redis.call('SET', note, string.format('%.0f:%.0f:%.0f:%.0f', used, at, since, given + twice), 'PX', OUTAGE)
  return twice
end

for i, key in ipairs(KEYS) do
  local at = 6 * i - 5
  local b = bucket(key, at)
  local last = ARGV[at + 5]
  local units, before, ticks = string.match(last, '^(%d+):(%d+):(%d+)$')
  if b.is_streams then
    redis.call('ZREM', key, last)
  else
    local more = units and leaked_twice(b, tonumber(units), tonumber(before), tonumber(ticks)) or 0
    b.kind.advance(b)
    b.used = b.used + more
    b.kind.charge(b, b.units, tonumber(last))
  end
end
