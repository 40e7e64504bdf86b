-- Nothing is given away for a while.
-- Keys: 1 the next free instant, in microseconds. Arguments: 1 for how long, in microseconds
local time = redis.call('TIME')
local free = time[1] * 1000000 + time[2] + tonumber(ARGV[1])
if free > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil(tonumber(ARGV[1]) / 1000) + 60000)
end
return 1
