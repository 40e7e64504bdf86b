-- Sets limits while everybody runs; they are what the next reservation goes by.
-- Arguments: 6 per second   7 per minute to one recipient; '' to go by accounts.json again, '-' to leave it as it is
for index, field in ipairs({ 'c', 'q' }) do
  local value = ARGV[5 + index]
  if value == '' then redis.call('HDEL', own, field) elseif value ~= '-' then redis.call('HSET', own, field, value) end
end
return 1
