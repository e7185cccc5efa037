-- Says that a replica lives and which streams it has open; tells it how many replicas there are, and which it is.
-- KEYS: where replicas are counted, then the bucket of each lease.
-- ARGV: the replica, how many ticks all this lives, then the leases.

local ticks = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
open_stream(KEYS[1], ARGV[1], ticks)
for i = 2, #KEYS do
  open_stream(KEYS[i], ARGV[i + 1], ticks)
end
local names = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(names)
local rank = 0
for i, name in ipairs(names) do
  if name == ARGV[1] then rank = i - 1 end
end
return {#names, rank}
