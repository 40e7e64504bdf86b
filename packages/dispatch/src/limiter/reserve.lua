-- The generic cell rate algorithm: one instant after the other, `interval` apart, is given away.
-- Keys: 1 the next free instant, in microseconds
-- Arguments: 1 interval   2 slack: how far behind now the next instant may lag and still be used up
--            3 horizon: instants further away are not given       (all in microseconds)
-- Returns: the wait in microseconds until the reserved instant, or -(wait) - 1 where nothing was reserved
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now - tonumber(ARGV[2]))
local wait = math.max(0, free - now)
if wait > tonumber(ARGV[3]) then return -math.ceil(wait) - 1 end
redis.call('SET', KEYS[1], string.format('%.0f', free + tonumber(ARGV[1])), 'PX', math.ceil(wait / 1000) + 60000)
return math.floor(wait)
