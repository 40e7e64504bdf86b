-- The probe was accepted: the breaker closes, and what came to nothing before is forgotten.
-- Returns: 1 when it was not closed before
local was = redis.call('HDEL', own, 'b', 'p', 'n', 'w', 's')
redis.call('HDEL', own, 'o0', 'o1', 'o2', 'o3', 'o4', 'o5')
return was > 0 and 1 or 0
