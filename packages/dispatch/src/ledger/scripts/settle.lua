-- Writes what became of an attempt, and the state that follows from it. Settling twice changes nothing.
-- Keys: 7 the request id's index (only with a request id)
-- Arguments: 6 attempt   7 outcome's number   8 duration in ms   9 code   10 next state's number
--            11 time that goes with it (due, or end of the uncertain window; ms, 0 for none)
--            12 1 when the attempt counts as a try   13 flags to add   14 request id, '' for none
--            15 packed error, '' for none   16 sequence number
-- Returns: { 'settled' or 'ignored', the state's number }
local core = load()
if not core then return { 'ignored', 0 } end
local attempt, outcome, state = tonumber(ARGV[6]), tonumber(ARGV[7]), core[STATE]
local next_state = tonumber(ARGV[10])
local decided = outcome == 1 or outcome == 5 -- the provider took it, or refused it
local known = outcome ~= 4

-- The claim was lost with a Redis that lost its last moments: the worker knows better.
local lost = core[ATTEMPTS] == attempt - 1 and is_waiting(state)
-- Somebody gave this attempt up for lost, and now its answer is here after all.
local late = core[ATTEMPTS] == attempt and ((known and state == UNCERTAIN) or (decided and is_waiting(state)))
local current = core[ATTEMPTS] == attempt and state == SENDING
if not (current or late or lost) then return { 'ignored', state } end

local at = now - tonumber(ARGV[8])
if lost then
  core[ATTEMPTS] = attempt
else
  local before = redis.call('HGET', bucket, slot .. 'a' .. attempt)
  if before then at = core[CREATED] + cmsgpack.unpack(before)[1] end
end
write_attempt(core, attempt, math.max(at, core[CREATED]), outcome, tonumber(ARGV[8]), ARGV[9])

if ARGV[14] ~= '' then
  redis.call('SET', KEYS[7], ARGV[16], 'EX', retention + 86400)
  redis.call('HSET', bucket, slot .. 'r', ARGV[14])
end
put('e', ARGV[15])
core[TRIES] = core[TRIES] + tonumber(ARGV[12])
core[FLAGS] = bit.bor(core[FLAGS], tonumber(ARGV[13]))
move(core, next_state, tonumber(ARGV[11]))
return { 'settled', next_state }
