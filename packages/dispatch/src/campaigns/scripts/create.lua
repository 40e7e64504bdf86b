-- Makes a draft.
-- Keys: 1 the account's tag
-- Arguments: 1 its number   2 now in ms   3 salt   4 definition   5 send at, 6 expires at, in ms; '' for none
-- Returns: 1 when there is such a campaign now; 0 when another one has its salt, or its number after a loss of data
local campaign = KEYS[1] .. ':k:' .. ARGV[1]
local owner = redis.call('HGET', KEYS[1] .. ':ks', ARGV[3])
if owner then return owner == ARGV[1] and 1 or 0 end
if redis.call('EXISTS', campaign) == 1 then return 0 end
redis.call('HSET', KEYS[1] .. ':ks', ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[1] .. ':kl', ARGV[1], ARGV[1] .. ':' .. ARGV[3])
redis.call('HSET', campaign, 's', 1, 'D', ARGV[4], 'x', ARGV[3], 'cA', ARGV[2], 't', 0, 'f', 0, 'F', 0, 'h', 0)
if ARGV[5] ~= '' then redis.call('HSET', campaign, 'from', ARGV[5]) end
if ARGV[6] ~= '' then redis.call('HSET', campaign, 'until', ARGV[6]) end
return 1
