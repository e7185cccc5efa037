-- Takes from all buckets or from none.
-- KEYS: the buckets. ARGV: a lease and how many ticks it lives, then five arguments a bucket.
-- Returns the wait in ms and the number of the bucket that makes it longest, 0 and 0 if it was taken; then for
-- each bucket what remains, the ms to a full bucket, and the mark for a refund.

local lease, lease_ticks = ARGV[1], tonumber(ARGV[2])
local buckets, longest, refused = {}, 0, 0
for i, key in ipairs(KEYS) do
  local b = bucket(key, 5 * i - 2)
  b.kind.advance(b)
  local wait = b.kind.wait(b)
  if wait > longest then longest, refused = wait, i end
  buckets[i] = b
end
local answer = {in_ms(longest), refused}
for _, b in ipairs(buckets) do
  if refused == 0 and b.is_streams then
    open_stream(b.key, lease, lease_ticks)
    b.used = b.used + 1
  elseif refused == 0 then
    b.kind.charge(b, b.units)
  end
  answer[#answer + 1] = b.kind.remaining(b)
  answer[#answer + 1] = in_ms(b.kind.reset(b))
  answer[#answer + 1] = b.kind.mark(b)
end
return answer
