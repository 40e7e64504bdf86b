-- Claims a message for one attempt. After this it is never sent by anybody else until the attempt is settled.
-- Arguments: 6 the job's generation   7 for how long the claim holds, in ms
-- Returns one of
--   { 'claimed', attempt, tries so far, expires at, content, recipient, created at }
--   { 'early', due }                  it waits for a later time
--   { 'held', until, attempt }        another attempt is under way, or was when its worker died
--   { 'expired' }                     its time was over: now it is
--   { 'stale', state's number }       final, uncertain, superseded or unknown (0): nothing to do
local core = load()
if not core then return { 'stale', 0 } end
local state = core[STATE]
if state == SENDING then
  return { 'held', tonumber(redis.call('ZSCORE', KEYS[3], id)) or 0, core[ATTEMPTS], core[TRIES], core[EXPIRES], core[FLAGS] }
end
if not is_waiting(state) or core[GENERATION] ~= tonumber(ARGV[6]) then return { 'stale', state } end
if core[EXPIRES] > 0 and core[EXPIRES] <= now then
  move(core, EXPIRED)
  return { 'expired' }
end
if core[DUE] > now then return { 'early', core[DUE] } end

local content = redis.call('GET', KEYS[6])
if not content then return { 'stale', state } end
core[ATTEMPTS] = core[ATTEMPTS] + 1
write_attempt(core, core[ATTEMPTS], now, 0, 0, '')
move(core, SENDING, now + tonumber(ARGV[7]))
return { 'claimed', core[ATTEMPTS], core[TRIES], core[EXPIRES], content, string.format('%.0f', core[TO]), core[CREATED] }
