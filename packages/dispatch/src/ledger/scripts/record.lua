-- Stands in front of each script: how a message lies in its bucket (see ../record.ts) and how it changes state.
--
-- Keys: 1 the account's tag. Every key that a script uses begins with it, and so lies in its slot (see ../keys.ts).
-- Arguments: 1 now in ms, '' for Redis' own clock   2 retention in seconds
--            3 the calls, msgpack: one array a message, its id without `msg_` first
--
-- What a script writes is kept back until finish(), which needs one command for many messages.
local SCHEDULED, QUEUED, RETRYING, SENDING, UNCERTAIN, SUBMITTED = 1, 2, 3, 4, 5, 6
local SENT, DELIVERED, READ, FAILED, CANCELLED, EXPIRED = 7, 8, 9, 10, 11, 12
local STATE, GENERATION, SALT, TO, CREATED, UPDATED, ATTEMPTS, TRIES, FLAGS, DUE, EXPIRES, CAMPAIGN =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
local HEARD, RECEIVER, CLAIMED, TOKEN = 13, 14, 15, 16
local IDEMPOTENT, ANSWERED, HAS_ERROR = 1, 2, 4 -- flags: may be sent twice; a 2xx came that could not be read
local CAMPAIGN_RUNNING, CAMPAIGN_PAUSED, CAMPAIGN_CANCELLED = 3, 4, 6 -- see ../../campaigns/campaign.ts
local ATTEMPTS_KEPT = 50
local PIECE = 60

local tag = KEYS[1]
local SENDING_LIST, UNCERTAIN_LIST, EXPIRING_LIST = tag .. ':s', tag .. ':u', tag .. ':x'
local RECEIVERS, PEN, PEN_BY_TIME = tag .. ':pr', tag .. ':h', tag .. ':hz'
local retention = tonumber(ARGV[2])
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The message at hand: where it lies, and what its id says (see ../ids.ts).
local bucket, content_key, id, slot, salt
local function take(its_id)
  id = its_id
  bucket, content_key = tag .. ':b:' .. string.sub(id, 5, 13), tag .. ':c:' .. id
  slot, salt = string.sub(id, 14, 14), tonumber(string.sub(id, 15), 16)
end

-- What finish() writes; false takes away.
local fields = {}   -- bucket → field → value
local contents = {} -- key → value
local lists = {}    -- key → member → score
local opened = {}   -- bucket → how many more of its messages are not final
local kept = {}     -- bucket → true: a campaign's, which has retention as a whole
local counted = {}  -- campaign → state → how many more messages are in it
local announced = {} -- receiver of post-backs → true: it has something to be told now
local expiring = {} -- key → true: has retention from now on

local function read(field)
  local value = fields[bucket] and fields[bucket][field]
  if value == nil then value = redis.call('HGET', bucket, field) end
  return value or nil
end

local function write(field, value)
  local its = fields[bucket]
  if not its then
    its = {}
    fields[bucket] = its
  end
  its[field] = value
end

local function enlist(key, score)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  list[id] = score
end

local function count(campaign, state, change)
  local counts = counted[campaign]
  if not counts then
    counts = {}
    counted[campaign] = counts
  end
  counts[state] = (counts[state] or 0) + change
end

-- What was kept as the arguments of a command, and the names of what is taken away.
local function both(changes, put)
  local puts, drops = {}, {}
  for name, value in pairs(changes) do
    if value then
      put(puts, name, value)
    else
      drops[#drops + 1] = name
    end
  end
  return puts, drops
end
local function name_value(puts, name, value) puts[#puts + 1], puts[#puts + 2] = name, value end
local function score_name(puts, name, value) puts[#puts + 1], puts[#puts + 2] = value, name end

-- Lua takes some 8,000 arguments, and fails in the middle of what belongs together when there are more: a bucket whose
-- messages all have long stories has more.
local ARGUMENTS_TOGETHER = 4000
local function run(command, key, arguments)
  for from = 1, #arguments, ARGUMENTS_TOGETHER do
    redis.call(command, key, unpack(arguments, from, math.min(#arguments, from + ARGUMENTS_TOGETHER - 1)))
  end
end

local function finish()
  for key, its in pairs(fields) do
    local puts, drops = both(its, name_value)
    run('HSET', key, puts)
    run('HDEL', key, drops)
  end
  local puts, drops = both(contents, name_value)
  if #puts > 0 then redis.call('MSET', unpack(puts)) end
  if #drops > 0 then redis.call('DEL', unpack(drops)) end
  for key, list in pairs(lists) do
    local puts, drops = both(list, score_name)
    run('ZADD', key, puts)
    run('ZREM', key, drops)
  end
  for key, more in pairs(opened) do
    local open = more ~= 0 and redis.call('HINCRBY', key, 'o', more)
    if more > 0 and open == more then redis.call('PERSIST', key) end
    if more < 0 and open <= 0 and not kept[key] then redis.call('EXPIRE', key, retention) end
  end
  for key in pairs(expiring) do redis.call('EXPIRE', key, retention) end
  for receiver in pairs(announced) do redis.call('ZADD', RECEIVERS, 'LT', now, receiver) end
  for campaign, counts in pairs(counted) do
    for state, change in pairs(counts) do
      if change ~= 0 then redis.call('HINCRBY', tag .. ':k:' .. campaign, state, change) end
    end
  end
end

-- Runs a step for every call and writes what they changed.
local function each_reply(step)
  local replies = {}
  for index, call in ipairs(cmsgpack.unpack(ARGV[3])) do
    take(call[1])
    replies[index] = step(call)
  end
  finish()
  return replies
end

-- The same; the replies go back as one text, which costs both sides less.
local function for_each_call(step) return cmsgpack.pack(each_reply(step)) end

-- The core of the message, or nil when the slot is empty or holds another message.
local function load()
  local packed = read(slot)
  if not packed then return nil end
  local core = cmsgpack.unpack(packed)
  if core[SALT] ~= salt then return nil end
  return core
end

local function save(core) write(slot, cmsgpack.pack(core)) end

local function is_waiting(state) return state <= RETRYING end
local function is_final(state) return state >= SUBMITTED end

-- A campaign's messages wait in a list of their own.
local function waiting_list(core)
  return core[CAMPAIGN] == 0 and tag .. ':w' or tag .. ':k:' .. core[CAMPAIGN] .. ':w'
end

local campaign_states = {}
local function campaign_state(core)
  local campaign = core[CAMPAIGN]
  if campaign == 0 then return 0 end
  local state = campaign_states[campaign]
  if not state then
    state = tonumber(redis.call('HGET', tag .. ':k:' .. campaign, 's')) or 0
    campaign_states[campaign] = state
  end
  return state
end

-- Longer texts lie in pieces, so that the bucket stays a listpack.
local function put(field, text)
  local number = 0
  for from = 1, #text, PIECE do
    write(slot .. field .. number, string.sub(text, from, from + PIECE - 1))
    number = number + 1
  end
  return number
end

-- As put, where a longer text may have been.
local function put_again(field, text)
  local number = put(field, text)
  while read(slot .. field .. number) do
    write(slot .. field .. number, false)
    number = number + 1
  end
end

local function joined(field)
  local pieces, piece = {}, read(slot .. field .. 0)
  while piece do
    pieces[#pieces + 1] = piece
    piece = read(slot .. field .. #pieces)
  end
  return table.concat(pieces)
end

-- A list that only grows, or keeps its length.
local function list_of(field)
  local packed = joined(field)
  return packed ~= '' and cmsgpack.unpack(packed) or {}
end

-- Events for the caller, in order: { state, ms after creation, 0 pending / 1 delivered / 2 dead, tries, ms after creation
-- of the first, why it failed where the message has gone on since }
local PENDING, TOLD, DEAD = 0, 1, 2
local function next_pending(events)
  for number, event in ipairs(events) do
    if event[3] == PENDING then return number, event end
  end
end

local function announce(core, state)
  local events = list_of('v')
  if not next_pending(events) then enlist(tag .. ':p:' .. core[RECEIVER], now) end
  announced[core[RECEIVER]] = true
  events[#events + 1] = { state, now - core[CREATED], PENDING, 0, 0 }
  put('v', cmsgpack.pack(events))
  -- A campaign knows its callback itself.
  if core[CAMPAIGN] == 0 then expiring[tag .. ':y:' .. id] = true end
end

-- error '' for none
local function put_error(core, error)
  local text = error ~= '' and cmsgpack.pack(error) or ''
  local had = bit.band(core[FLAGS], HAS_ERROR) ~= 0
  if had and core[STATE] == FAILED and core[RECEIVER] ~= '' then
    local events = list_of('v')
    events[#events][6] = cmsgpack.unpack(joined('e'))
    put_again('v', cmsgpack.pack(events))
  end
  if had then put_again('e', text) else put('e', text) end
  if had ~= (text ~= '') then core[FLAGS] = bit.bxor(core[FLAGS], HAS_ERROR) end
end

-- Moves the message into a state. `score` is the time that goes with it: when a waiting message is due,
-- when the claim of one being sent is given up, when an uncertain one is decided.
local function move(core, state, score)
  local before = core[STATE]
  local is_new = before == 0
  core[STATE] = state
  core[UPDATED] = now - core[CREATED]
  core[DUE] = is_waiting(state) and score or 0
  -- What is heard of the attempts so far decides nothing about the next one.
  if is_waiting(state) then core[HEARD] = 0 end
  if not is_new and is_waiting(before) and not is_waiting(state) then
    enlist(waiting_list(core), false)
    if core[EXPIRES] > 0 then enlist(EXPIRING_LIST, false) end
  elseif before == SENDING then
    enlist(SENDING_LIST, false)
    core[CLAIMED], core[TOKEN] = nil, nil
  elseif before == UNCERTAIN then
    enlist(UNCERTAIN_LIST, false)
  end
  if is_waiting(state) then
    enlist(waiting_list(core), score)
    if core[EXPIRES] > 0 then enlist(EXPIRING_LIST, core[EXPIRES]) end
  elseif state == SENDING then
    enlist(SENDING_LIST, score)
  elseif state == UNCERTAIN then
    enlist(UNCERTAIN_LIST, score)
  end
  if is_final(state) then contents[content_key] = false end
  local was_open, is_open = not is_new and not is_final(before), not is_final(state)
  if was_open ~= is_open then opened[bucket] = (opened[bucket] or 0) + (is_open and 1 or -1) end
  if core[RECEIVER] ~= '' and is_final(state) and state ~= before then announce(core, state) end
  if core[CAMPAIGN] ~= 0 then
    kept[bucket] = true
    -- A new one was counted as queued when its row was stored.
    if not is_new then
      count(core[CAMPAIGN], before, -1)
      count(core[CAMPAIGN], state, 1)
    end
  end
  save(core)
end

-- Writes what became of one attempt.
local function write_attempt(core, number, at, outcome, duration, code)
  write(slot .. 'a' .. number, cmsgpack.pack({ at - core[CREATED], outcome, duration, code }))
  if number > ATTEMPTS_KEPT then write(slot .. 'a' .. (number - ATTEMPTS_KEPT), false) end
end

-- Where a day's index holds what a provider calls a message (see ../keys.ts).
local function index_of(day, hash) return tag .. ':q:' .. day .. ':' .. string.sub(hash, 1, 2), string.sub(hash, 3) end

local function remember(hash)
  local index, field = index_of(math.floor(now / 86400000), hash)
  redis.call('HSET', index, field, string.format('%.0f', tonumber(string.sub(id, 5, 14), 16)))
  if redis.call('HLEN', index) == 1 then redis.call('EXPIRE', index, retention + 2 * 86400) end
end

-- What receipts say of a message, as a number that only grows: the greatest heard is the state, in whatever order they
-- come. A proof of delivery is worth more than word of a failure, which is worth more than `sent`.
local HEARD_SENT, HEARD_FAILED, HEARD_DELIVERED, HEARD_READ = 1, 2, 3, 4
local state_heard = { SENT, FAILED, DELIVERED, READ }
local heard_of = { [SENT] = HEARD_SENT, [FAILED] = HEARD_FAILED, [DELIVERED] = HEARD_DELIVERED, [READ] = HEARD_READ }
local RECEIPTS_KEPT = 20

-- The state that the message has by its receipts, rather than the one that its attempt gives it.
local function by_receipts(core, state)
  local heard = core[HEARD]
  if heard == 0 then return state end
  if heard ~= HEARD_FAILED then return state_heard[heard] end
  return (state == SUBMITTED or state == SENT or state == UNCERTAIN) and FAILED or state
end

-- Moves the message on where its receipts are ahead of it.
local function move_by_receipts(core)
  local state = by_receipts(core, core[STATE])
  if state == core[STATE] then return false end
  local failure = ''
  if state == FAILED then
    for _, receipt in ipairs(list_of('p')) do
      if receipt[3] then failure = { receipt[3], receipt[4], receipt[5], 'delivery' } end
    end
  end
  put_error(core, failure)
  move(core, state, 0)
  return true
end

-- When the newest attempt began, in ms after creation.
local function newest_began(core)
  if core[CLAIMED] then return core[CLAIMED] end
  local attempt = read(slot .. 'a' .. core[ATTEMPTS])
  return attempt and cmsgpack.unpack(attempt)[1] or 0
end

-- Takes in one receipt of the message at hand:
-- { when, in ms; the provider's word; the state it means, 0 for none; request id; wamid; its hash; error's code, kind,
-- message; recipient; our id; when it came; 1 when the provider told no time }
-- Returns whether the message moved.
local function hear(core, receipt)
  local at, word, heard, request_id = receipt[1], receipt[2], heard_of[receipt[3]] or 0, receipt[4]
  local after = at - core[CREATED]
  local receipts = list_of('p')
  -- Without a time, the same word is the same receipt, unless it was said of the attempt before.
  local since = receipt[13] == 1 and newest_began(core)
  for _, known in ipairs(receipts) do
    if known[2] == word and (known[1] == after or since and known[1] >= since) then return false end
  end
  if #receipts < RECEIPTS_KEPT then
    receipts[#receipts + 1] = heard == HEARD_FAILED and { after, word, receipt[7], receipt[8], receipt[9] } or { after, word }
    put('p', cmsgpack.pack(receipts))
  end

  local state = core[STATE]
  local newest = read(slot .. 'r')
  if is_waiting(state) or state == SENDING then
    -- Of the attempt before, which is over and done with: only what proves that it arrived is news.
    if newest and request_id == newest and heard < HEARD_DELIVERED then heard = 0 end
    if is_waiting(state) and heard == HEARD_FAILED then heard = 0 end
  elseif heard == HEARD_FAILED and newest and request_id ~= '' and request_id ~= newest then
    heard = 0
  end
  core[HEARD] = math.max(core[HEARD], heard)
  save(core)
  -- What is being sent is decided when its attempt is settled.
  return core[STATE] ~= SENDING and move_by_receipts(core)
end

-- As hear, and learns the wamid. Receipts that came before it was known which message they are about follow.
local receive
local function receive_penned(core, hash)
  local packed = redis.call('HGET', PEN, hash)
  if not packed then return end
  redis.call('HDEL', PEN, hash)
  redis.call('ZREM', PEN_BY_TIME, hash)
  for _, receipt in ipairs(cmsgpack.unpack(packed)) do receive(core, receipt) end
end

function receive(core, receipt)
  local moved = hear(core, receipt)
  local wamid, hash = receipt[5], receipt[6]
  if wamid ~= '' and wamid ~= read(slot .. 'r') and not read(slot .. 'm0') then
    put('m', wamid)
    remember(hash)
    receive_penned(core, hash)
  end
  return moved
end
