-- Claims a message for one attempt. After this it is never sent by anybody else until the attempt is settled.
-- Call: 2 the job's generation   3 for how long the claim holds, in ms
--       4 a token: asking again with it gives the same claim again, should the answer have been lost
-- Returns one of
--   { 'claimed', attempt, tries so far, content ('' when it is lost), recipient, for how long it was due, ms }
--   { 'early', in how many ms it is due }
--   { 'held', in how many ms it is given up, attempt, tries, flags }
--                                     another attempt is under way, or was when its worker died
--   { 'parked' }                      its campaign is paused: it gets a new job when that goes on
--   { 'expired' }                     its time was over: now it is
--   { 'stale', state's number }       final, uncertain, superseded or unknown (0): nothing to do
local core = load()
if not core then return { 'stale', 0 } end
local state = core[STATE]

local function claimed(waited)
  local content = redis.call('GET', content_key)
  return { 'claimed', core[ATTEMPTS], core[TRIES], content or '', core[TO], waited }
end

if state == SENDING then
  if core[TOKEN] == call[4] then return claimed(0) end
  local until_ = tonumber(lists[SENDING_LIST] and lists[SENDING_LIST][id] or redis.call('ZSCORE', SENDING_LIST, id)) or 0
  return { 'held', until_ - now, core[ATTEMPTS], core[TRIES], core[FLAGS] }
end
if not is_waiting(state) or core[GENERATION] ~= call[2] then return { 'stale', state } end
if core[EXPIRES] > 0 and core[EXPIRES] <= now then
  move(core, EXPIRED)
  return { 'expired' }
end
local campaign = campaign_state(core)
if campaign == CAMPAIGN_CANCELLED then
  move(core, CANCELLED)
  return { 'stale', CANCELLED }
end
if campaign == CAMPAIGN_PAUSED then return { 'parked' } end
if core[DUE] > now then return { 'early', core[DUE] - now } end

core[ATTEMPTS] = core[ATTEMPTS] + 1
core[CLAIMED], core[TOKEN] = now - core[CREATED], call[4]
local waited = now - core[DUE]
move(core, SENDING, now + call[3])
return claimed(waited)
