-- Writes what became of an attempt, and the state that follows from it. Settling twice changes nothing.
-- Call: 2 attempt   3 outcome's number   4 duration in ms   5 code   6 next state's number
--       7 in how many ms it is due, or its uncertain window ends; 0 for none
--       8 1 when the attempt counts as a try   9 flags to add   10 request id, '' for none
--       11 hash of the request id   12 the error (see ../record.ts), '' for none
-- Returns: { 'settled' or 'ignored', the state's number }
local core = load()
if not core then return { 'ignored', 0 } end
local attempt, outcome, state, next_state = call[2], call[3], core[STATE], call[6]
local decided = outcome == 1 or outcome == 5 -- the provider took it, or refused it
local known = outcome ~= 4

-- The claim was lost with a Redis that lost its last moments: the worker knows better.
local lost = core[ATTEMPTS] == attempt - 1 and is_waiting(state)
local current = core[ATTEMPTS] == attempt and state == SENDING
-- Somebody gave this attempt up for lost, or decided without knowing, and now its answer is here after all.
local late, earlier = false, nil
if core[ATTEMPTS] == attempt and not current then
  local before = read(slot .. 'a' .. attempt)
  earlier = before and cmsgpack.unpack(before)
  local unknown = earlier and earlier[2] == 4
  late = (state == UNCERTAIN and known)
    -- A refusal that was written before says nothing about a message that was reopened since.
    or (is_waiting(state) and (outcome == 1 or decided and unknown))
    or (state >= SUBMITTED and state <= FAILED and unknown and outcome == 1)
end
if not (current or late or lost) then return { 'ignored', state } end

local score = now + call[7]
if is_waiting(next_state) then
  if core[EXPIRES] > 0 and score >= core[EXPIRES] then next_state = EXPIRED end
  if campaign_state(core) == CAMPAIGN_CANCELLED then next_state = CANCELLED end
end

local at = now - call[4]
if lost then
  core[ATTEMPTS] = attempt
elseif current then
  at = core[CREATED] + core[CLAIMED]
elseif earlier then
  at = core[CREATED] + earlier[1]
end
write_attempt(core, attempt, math.max(at, core[CREATED]), outcome, call[4], call[5])

if call[10] ~= '' then
  remember(call[11])
  write(slot .. 'r', call[10])
end
core[TRIES] = core[TRIES] + call[8]
core[FLAGS] = bit.bor(core[FLAGS], call[9])
-- Receipts may be ahead of their answer. An accepted one is submitted first, for those who are told of each state.
local ahead = state >= SENT and state <= READ or state == FAILED and core[HEARD] == HEARD_FAILED
if ahead then
  save(core)
else
  local error, proven = call[12], by_receipts(core, next_state)
  if next_state ~= SUBMITTED and proven ~= next_state and proven ~= FAILED then next_state, error = proven, '' end
  put_error(core, error)
  move(core, next_state, score)
  move_by_receipts(core)
end
if call[10] ~= '' then receive_penned(core, call[11]) end
return { 'settled', core[STATE] }
