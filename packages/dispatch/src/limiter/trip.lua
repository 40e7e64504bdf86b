-- Opens the breaker; one that is half open has had its probe refused.
-- Arguments: 6 why, JSON; '' for what says no more than is known   7 1 when this attempt was the probe   8 from here on the waits before the probes, in ms
-- Returns: 1 when it was closed before
local breaker, failed = unpack(redis.call('HMGET', own, 'b', 'n'))
failed = tonumber(failed) or 0
if breaker and ARGV[7] ~= '1' then return 0 end
if breaker then failed = failed + 1 end
local wait = tonumber(ARGV[math.min(8 + failed, #ARGV)])
redis.call('HSET', own, 'b', OPEN, 'n', failed, 'p', text(now + wait * 1000))
if ARGV[6] ~= '' then redis.call('HSET', own, 'w', ARGV[6]) end
if not breaker then redis.call('HSET', own, 's', text(now / 1000)) end
return breaker and 0 or 1
