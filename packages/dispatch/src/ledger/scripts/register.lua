-- Gives each account a number that stays. (Stands alone: record.lua is not in front of it.)
-- Keys: 1 the table of accounts. Arguments: account ids
-- Returns: their numbers, in order
local numbers = {}
for index, id in ipairs(ARGV) do
  local number = redis.call('HGET', KEYS[1], id)
  if not number then
    number = redis.call('HLEN', KEYS[1]) + 1
    redis.call('HSET', KEYS[1], id, number)
  end
  numbers[index] = tonumber(number)
end
return numbers
