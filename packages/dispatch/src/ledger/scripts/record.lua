-- Stands in front of each script: how a message lies in its bucket (see ../record.ts) and how it changes state.
--
-- Keys, the same for every script:
--   1 waiting   2 sending   3 uncertain   4 expiring   5 bucket   6 content   (more: see the script)
-- Arguments, the same for every script:
--   1 now in ms, '' for Redis' own clock   2 retention in seconds   3 message id without `msg_`
local SCHEDULED, QUEUED, RETRYING, SENDING, UNCERTAIN, SUBMITTED = 1, 2, 3, 4, 5, 6
local FAILED, CANCELLED, EXPIRED = 10, 11, 12
local STATE, GENERATION, SALT, TO, CREATED, UPDATED, ATTEMPTS, TRIES, FLAGS, DUE, EXPIRES = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local IDEMPOTENT, ANSWERED = 1, 2 -- flags: may be sent twice; a 2xx came that could not be read
local ATTEMPTS_KEPT = 50
local PIECE = 60

local retention = tonumber(ARGV[2])
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The message at hand: its bucket and content, and what its id says (see ../ids.ts).
local bucket, content_key, id, slot, salt
local function take(bucket_, content_, id_)
  bucket, content_key, id = bucket_, content_, id_
  slot, salt = string.sub(id, 14, 14), tonumber(string.sub(id, 15), 16)
end
take(KEYS[5], KEYS[6], ARGV[3])

-- The core of the message, or nil when the slot is empty or holds another message.
local function load()
  local packed = redis.call('HGET', bucket, slot)
  if not packed then return nil end
  local core = cmsgpack.unpack(packed)
  if core[SALT] ~= salt then return nil end
  return core
end

local function is_waiting(state) return state <= RETRYING end
local function is_final(state) return state >= SUBMITTED end

-- Longer texts lie in pieces, so that the bucket stays a listpack.
local function put(field, text)
  local number = 0
  for from = 1, #text, PIECE do
    redis.call('HSET', bucket, slot .. field .. number, string.sub(text, from, from + PIECE - 1))
    number = number + 1
  end
  while redis.call('HDEL', bucket, slot .. field .. number) == 1 do number = number + 1 end
end

-- Moves the message into a state. `score` is the time that goes with it: when a waiting message is due,
-- when the claim of one being sent is given up, when an uncertain one is decided.
local function move(core, state, score)
  local before = core[STATE]
  local was_final = before ~= 0 and is_final(before)
  core[STATE] = state
  core[UPDATED] = now - core[CREATED]
  core[DUE] = is_waiting(state) and score or 0
  if before ~= 0 then
    if is_waiting(before) and not is_waiting(state) then
      redis.call('ZREM', KEYS[1], id)
      if core[EXPIRES] > 0 then redis.call('ZREM', KEYS[4], id) end
    end
    if before == SENDING then redis.call('ZREM', KEYS[2], id) end
    if before == UNCERTAIN then redis.call('ZREM', KEYS[3], id) end
  end
  if is_waiting(state) then
    redis.call('ZADD', KEYS[1], score, id)
    if core[EXPIRES] > 0 then redis.call('ZADD', KEYS[4], core[EXPIRES], id) end
  elseif state == SENDING then
    redis.call('ZADD', KEYS[2], score, id)
  elseif state == UNCERTAIN then
    redis.call('ZADD', KEYS[3], score, id)
  elseif not was_final then
    redis.call('DEL', content_key)
    if redis.call('HINCRBY', bucket, 'o', -1) <= 0 then redis.call('EXPIRE', bucket, retention) end
  end
  redis.call('HSET', bucket, slot, cmsgpack.pack(core))
end

-- Writes what became of one attempt; outcome 0 is an attempt that is under way.
local function write_attempt(core, number, at, outcome, duration, code)
  redis.call('HSET', bucket, slot .. 'a' .. number, cmsgpack.pack({ at - core[CREATED], outcome, duration, code }))
  if number > ATTEMPTS_KEPT then redis.call('HDEL', bucket, slot .. 'a' .. (number - ATTEMPTS_KEPT)) end
end
