-- Claims a message for one attempt. After this it is never sent by anybody else until the attempt is settled.
-- Arguments: 4 the job's generation   5 for how long the claim holds, in ms
--            6 a token: asking again with it gives the same claim again, should the answer have been lost
-- Returns one of
--   { 'claimed', attempt, tries so far, content ('' when it is lost), recipient, for how long it was due, ms }
--   { 'early', in how many ms it is due }
--   { 'held', in how many ms it is given up, attempt, tries, flags }
--                                     another attempt is under way, or was when its worker died
--   { 'expired' }                     its time was over: now it is
--   { 'stale', state's number }       final, uncertain, superseded or unknown (0): nothing to do
local core = load()
if not core then return { 'stale', 0 } end
local state = core[STATE]

local function claimed(content, waited)
  return { 'claimed', core[ATTEMPTS], core[TRIES], content or '', string.format('%.0f', core[TO]), waited }
end

if state == SENDING then
  local open = redis.call('HGET', bucket, slot .. 'a' .. core[ATTEMPTS])
  local content = redis.call('GET', content_key)
  if open and cmsgpack.unpack(open)[4] == ARGV[6] then return claimed(content, 0) end
  local until_ = tonumber(redis.call('ZSCORE', KEYS[2], id)) or 0
  return { 'held', until_ - now, core[ATTEMPTS], core[TRIES], core[FLAGS] }
end
if not is_waiting(state) or core[GENERATION] ~= tonumber(ARGV[4]) then return { 'stale', state } end
if core[EXPIRES] > 0 and core[EXPIRES] <= now then
  move(core, EXPIRED)
  return { 'expired' }
end
if core[DUE] > now then return { 'early', core[DUE] - now } end

local content = redis.call('GET', content_key)
core[ATTEMPTS] = core[ATTEMPTS] + 1
write_attempt(core, core[ATTEMPTS], now, 0, 0, ARGV[6])
local waited = now - core[DUE]
move(core, SENDING, now + tonumber(ARGV[5]))
return claimed(content, waited)
