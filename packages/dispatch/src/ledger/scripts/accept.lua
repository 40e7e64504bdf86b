-- Takes a message in. A repeat with the same id changes nothing.
-- Keys: 7 the reference's index (only with a reference)
-- Arguments: 6 recipient   7 due in ms, 0 for at once   8 expires at in ms, 0 for never   9 idempotent (1 or 0)
--            10 content   11 reference, '' for none
-- Returns: { the state's number, due }
local core = load()
if core then return { core[STATE], core[DUE] } end

local due = tonumber(ARGV[7])
local state = due > now and SCHEDULED or QUEUED
core = { 0, 0, tonumber(ARGV[2]), tonumber(ARGV[6]), now, 0, 0, 0, tonumber(ARGV[9]), 0, tonumber(ARGV[8]) }
redis.call('SET', KEYS[6], ARGV[10])
if redis.call('HINCRBY', bucket, 'o', 1) == 1 then redis.call('PERSIST', bucket) end
if ARGV[11] ~= '' then
  put('f', ARGV[11])
  redis.call('ZADD', KEYS[7], now, id)
  local keep = math.max(0, math.ceil((due - now) / 1000)) + 2 * retention
  if redis.call('TTL', KEYS[7]) < keep then redis.call('EXPIRE', KEYS[7], keep) end
end
move(core, state, math.max(due, now))
return { core[STATE], core[DUE] }
