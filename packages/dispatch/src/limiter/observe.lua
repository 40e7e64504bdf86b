-- Adds attempts to the last half minute's, and opens the breaker when too many of them came to nothing.
-- Arguments: 6 why, JSON   7 attempts that came to nothing   8 all attempts   9 the wait before the first probe, in ms
-- Returns: 1 when it was opened now
local SLOT, SLOTS, LEAST, SHARE = 5000000, 6, 20, 0.5
local slot = math.floor(now / SLOT)
local all, bad = 0, 0
for place = 0, SLOTS - 1 do
  local field = 'o' .. place
  local value = redis.call('HGET', own, field)
  local seen = value and cjson.decode(value)
  if place == slot % SLOTS then
    if not seen or seen[1] ~= slot then seen = { slot, 0, 0 } end
    seen[2], seen[3] = seen[2] + tonumber(ARGV[7]), seen[3] + tonumber(ARGV[8])
    redis.call('HSET', own, field, cjson.encode(seen))
  end
  if seen and seen[1] > slot - SLOTS then bad, all = bad + seen[2], all + seen[3] end
end
if all < LEAST or bad < all * SHARE or redis.call('HEXISTS', own, 'b') == 1 then return 0 end
redis.call('HSET', own, 'b', OPEN, 'n', 0, 'p', text(now + ARGV[9] * 1000), 'w', ARGV[6], 's', text(now / 1000))
return 1
