-- Takes a message in. A repeat with the same id changes nothing; a slot that holds another message (its sequence number
-- was given away twice by a Redis that lost its last moments) is left alone.
-- Call: 2 recipient   3 due in ms, 0 for at once   4 expires at in ms, 0 for never   5 flags   6 content
--       7 reference, '' for none   8 hash of the reference, '' for none   9 its campaign's number, 0 for none
--       10 who is told what becomes of it, '' for nobody   11 how, '' where its campaign knows
-- Returns: { the state's number, due }; { -1, 0 } when the slot is taken
local REFERENCES_KEPT = 10000
local held = read(slot)
if held then
  local core = cmsgpack.unpack(held)
  if core[SALT] ~= salt then return { -1, 0 } end
  return { core[STATE], core[DUE] }
end

local due = call[3]
local state = due > now and SCHEDULED or QUEUED
due = math.max(due, now)
move({ 0, 0, salt, call[2], now, 0, 0, 0, call[5], 0, call[4], call[9], 0, call[10] }, state, due)
contents[content_key] = call[6]
if call[11] ~= '' then contents[tag .. ':y:' .. id] = call[11] end
if call[7] ~= '' then
  put('f', call[7])
  local reference_key = tag .. ':f:' .. call[8]
  redis.call('ZADD', reference_key, now, id)
  -- A reference that is used again and again must not grow for ever.
  redis.call('ZREMRANGEBYRANK', reference_key, 0, -REFERENCES_KEPT - 1)
  local keep = math.max(0, math.ceil((due - now) / 1000)) + 2 * retention
  if redis.call('TTL', reference_key) < keep then redis.call('EXPIRE', reference_key, keep) end
end
return { state, due }
