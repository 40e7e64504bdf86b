-- Sets limits while everybody runs; they are what the next reservation goes by.
-- Arguments: 6 per second   7 per minute to one recipient; '' to go by accounts.json again, '-' to leave it as it is
local before, free = scope(own, tonumber(ARGV[2]))
for index, field in ipairs({ 'c', 'q' }) do
  local value = ARGV[5 + index]
  if value == '' then redis.call('HDEL', own, field) elseif value ~= '-' then redis.call('HSET', own, field, value) end
end
-- Instants that lie ahead only because the limit was lower do not hold up the new one; a rest that was asked for stays.
local interval = 1000000 / scope(own, tonumber(ARGV[2]))
local soon = now + horizon_of(interval)
if free > soon and free - now <= horizon_of(1000000 / before) + 1.2 * 1000000 / before then
  redis.call('HSET', own, 'f', text(soon))
end
return 1
