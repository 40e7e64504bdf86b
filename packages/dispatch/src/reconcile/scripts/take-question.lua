-- Takes the question that is due first. It comes back by itself, should who took it die.
-- (Stands alone: the ledger's record.lua is not in front of it.)
-- Keys: 1 the account's questions (zset: message id → when it is due, in ms)
-- Arguments: 1 now in ms   2 after how many ms it comes back
-- Returns: the message's id without `msg_`, or nothing
local id = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
if id then redis.call('ZADD', KEYS[1], ARGV[1] + ARGV[2], id) end
return id
