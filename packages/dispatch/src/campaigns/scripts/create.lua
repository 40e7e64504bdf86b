-- Makes a draft.
-- Keys: 1 the account's tag
-- Arguments: 1 now in ms   2 salt   3 definition   4 send at, 5 expires at, in ms; '' for none
-- Returns: its number; 0 when another campaign of the account has this salt
if redis.call('HEXISTS', KEYS[1] .. ':ks', ARGV[2]) == 1 then return 0 end
local number = redis.call('INCR', KEYS[1] .. ':kn')
redis.call('HSET', KEYS[1] .. ':ks', ARGV[2], number)
redis.call('ZADD', KEYS[1] .. ':kl', number, number .. ':' .. ARGV[2])
redis.call('HSET', KEYS[1] .. ':k:' .. number, 's', 1, 'D', ARGV[3], 'x', ARGV[2], 'cA', ARGV[1], 't', 0, 'f', 0, 'F', 0, 'h', 0)
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1] .. ':k:' .. number, 'from', ARGV[4]) end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1] .. ':k:' .. number, 'until', ARGV[5]) end
return number
