-- Gives each account a number that stays. (Stands alone: record.lua is not in front of it.)
-- Keys: 1 the table of accounts
-- Arguments: two an account: its id, and the number it had, should Redis have lost the table; 0 for none
-- Returns: their numbers, in order
local taken, highest = {}, 0
for _, number in ipairs(redis.call('HVALS', KEYS[1])) do
  taken[number] = true
  highest = math.max(highest, tonumber(number))
end
local numbers = {}
for index = 1, #ARGV, 2 do
  local number = redis.call('HGET', KEYS[1], ARGV[index])
  if not number then
    number = ARGV[index + 1]
    if number == '0' or taken[number] then number = tostring(highest + 1) end
    taken[number] = true
    highest = math.max(highest, tonumber(number))
    redis.call('HSET', KEYS[1], ARGV[index], number)
  end
  numbers[#numbers + 1] = tonumber(number)
end
return numbers
