-- The provider said that it is too much.
-- Arguments: 6 what is too much: 'account', 'provider' or 'pair'   7 recipient
--            8 how long ago the attempt began   9 for how long nothing may be sent (both in microseconds)
-- Returns: 1 when a limit was lowered
local which, rest = ARGV[6], tonumber(ARGV[9])
if which == 'pair' then
  local interval, burst = pair_limit()
  if not interval then return 0 end
  local paid = now + math.max(rest, interval) + (burst - 1) * interval
  local key = tag .. ':p:' .. account .. ':' .. ARGV[7]
  if paid > (tonumber(redis.call('GET', key)) or 0) then
    redis.call('SET', key, text(paid), 'PX', math.ceil((paid - now) / 1000) + 10000)
  end
  return 1
end

local everybody = which == 'provider' and ARGV[3] ~= ''
local key = everybody and shared or own
local limit, free, lowered_at = scope(key, tonumber(everybody and ARGV[3] or ARGV[2]))
redis.call('HSET', key, 'f', text(math.max(free, now + rest)))
-- What was under way when the limit was lowered, or had its instant then, says nothing about the lower one.
if lowered_at and now - tonumber(ARGV[8]) <= lowered_at + horizon_of(1000000 / limit) then return 0 end
-- Nobody knows at first how far off it is. After a rest a provider that counts by the second says it again the sooner
-- the further it is; one that says it after more than a second is near, and a small step back is enough.
local share = 0.7
if lowered_at and limit >= 5 then
  share = 0.96 * math.min(1, math.max(0.5, (now - tonumber(ARGV[8]) - lowered_at) / 1000000))
end
redis.call('HSET', key, 'r', math.max(0.1, limit * share), 't', text(now + rest))
return 1
