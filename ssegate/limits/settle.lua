-- Puts right what was reserved, and gives back open streams.
-- KEYS: the buckets. ARGV: for each the five arguments of a bucket and then its mark, or, of streams, the lease.

for i, key in ipairs(KEYS) do
  local at = 6 * i - 5
  local b = bucket(key, at)
  if b.is_streams then
    redis.call('ZREM', key, ARGV[at + 5])
  else
    b.kind.advance(b)
    b.kind.charge(b, b.units, tonumber(ARGV[at + 5]))
  end
end
