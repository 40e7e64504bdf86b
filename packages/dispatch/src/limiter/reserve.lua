-- The generic cell rate algorithm: one instant after the other, `interval` apart, is given away.
-- Keys: 1 the next free instant, in microseconds
-- Arguments: 1 interval   2 slack: how far behind now the next instant may lag and still be used up
--            3 horizon: instants further away are not given       (all in microseconds)
--            4 how many instants are asked for
-- Returns: how many are reserved, and the wait in microseconds until the first of them, or, where none is, until the
--   first that is free
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, horizon = tonumber(ARGV[1]), tonumber(ARGV[3])
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now - tonumber(ARGV[2]))
local wait = math.max(0, free - now)
local given = 0
if wait <= horizon then
  given = math.min(tonumber(ARGV[4]), 1 + math.floor((horizon - math.max(0, free - now)) / interval))
  redis.call('SET', KEYS[1], string.format('%.0f', free + given * interval), 'PX', math.ceil(wait / 1000) + 60000)
end
return { given, math.floor(free - now) }
