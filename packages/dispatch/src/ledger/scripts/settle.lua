-- Writes what became of an attempt, and the state that follows from it. Settling twice changes nothing.
-- Keys: 7 the request id's index (only with a request id)
-- Arguments: 4 attempt   5 outcome's number   6 duration in ms   7 code   8 next state's number
--            9 in how many ms it is due, or its uncertain window ends; 0 for none
--            10 1 when the attempt counts as a try   11 flags to add   12 request id, '' for none
--            13 packed error, '' for none   14 sequence number
-- Returns: { 'settled' or 'ignored', the state's number }
local core = load()
if not core then return { 'ignored', 0 } end
local attempt, outcome, state = tonumber(ARGV[4]), tonumber(ARGV[5]), core[STATE]
local next_state = tonumber(ARGV[8])
local decided = outcome == 1 or outcome == 5 -- the provider took it, or refused it
local known = outcome ~= 4

-- The claim was lost with a Redis that lost its last moments: the worker knows better.
local lost = core[ATTEMPTS] == attempt - 1 and is_waiting(state)
local current = core[ATTEMPTS] == attempt and state == SENDING
-- Somebody gave this attempt up for lost, or decided without knowing, and now its answer is here after all.
local late = false
if core[ATTEMPTS] == attempt and not current then
  local before = redis.call('HGET', bucket, slot .. 'a' .. attempt)
  local unknown = before and cmsgpack.unpack(before)[2] == 4
  late = (state == UNCERTAIN and known)
    or (is_waiting(state) and decided)
    or ((state == SUBMITTED or state == FAILED) and unknown and outcome == 1)
end
if not (current or late or lost) then return { 'ignored', state } end

local score = now + tonumber(ARGV[9])
if is_waiting(next_state) and core[EXPIRES] > 0 and score >= core[EXPIRES] then next_state = EXPIRED end

local at = now - tonumber(ARGV[6])
if lost then
  core[ATTEMPTS] = attempt
else
  local before = redis.call('HGET', bucket, slot .. 'a' .. attempt)
  if before then at = core[CREATED] + cmsgpack.unpack(before)[1] end
end
write_attempt(core, attempt, math.max(at, core[CREATED]), outcome, tonumber(ARGV[6]), ARGV[7])

if ARGV[12] ~= '' then
  redis.call('SET', KEYS[7], ARGV[14], 'EX', retention + 86400)
  redis.call('HSET', bucket, slot .. 'r', ARGV[12])
end
put('e', ARGV[13])
core[TRIES] = core[TRIES] + tonumber(ARGV[10])
core[FLAGS] = bit.bor(core[FLAGS], tonumber(ARGV[11]))
move(core, next_state, score)
return { 'settled', next_state }
