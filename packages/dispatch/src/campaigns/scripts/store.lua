-- Stores rows of an upload as one chunk, without those whose recipient is there already.
-- Keys: 1 the account's tag
-- Arguments: 1 the campaign's number   2 its salt   3 recipients, msgpack   4 rows, compressed (see ../chunk.ts)
--            5 refused rows, msgpack: reason, how many, …
--            6 hash of the upload's Idempotency-Key, '' for none   7 which chunk of the upload it is   8 its checksum
--            9 for how many seconds the upload is remembered
-- Returns: { 'stored' or 'again', accepted, duplicates };  { 'conflict' } when another upload has this key;
--          { 'closed', the campaign's state } when it takes no more rows;  { 'unknown' }
local BUCKET_ROWS, SETS = 16, 16384
local DRAFT, PAUSED = 1, 4
local campaign = KEYS[1] .. ':k:' .. ARGV[1]
-- U: rows that are no messages yet will never be; Z: it was finished, and its recipients are forgotten
local state, salt, gone, over = unpack(redis.call('HMGET', campaign, 's', 'x', 'U', 'Z'))
if salt ~= ARGV[2] then return { 'unknown' } end

local upload = ARGV[6] ~= '' and campaign .. ':i:' .. ARGV[6]
if upload then
  local before = redis.call('HGET', upload, ARGV[7])
  if before then
    local checksum, accepted, duplicates = unpack(cmsgpack.unpack(before))
    if checksum ~= ARGV[8] then return { 'conflict' } end
    return { 'again', accepted, duplicates }
  end
  if redis.call('HEXISTS', upload, 'done') == 1 then return { 'conflict' } end
end
state = tonumber(state)
if state < DRAFT or state > PAUSED or gone or over then return { 'closed', state } end

local recipients = cmsgpack.unpack(ARGV[3])
local duplicates = {}
for index, recipient in ipairs(recipients) do
  if redis.call('SADD', campaign .. ':d:' .. recipient % SETS, string.format('%.0f', recipient)) == 0 then
    duplicates[#duplicates + 1] = index - 1
  end
end
local accepted = #recipients - #duplicates

if accepted > 0 then
  local size = math.ceil(#recipients / BUCKET_ROWS) * BUCKET_ROWS
  local first = redis.call('INCRBY', KEYS[1] .. ':n', size) - size
  local number = redis.call('HINCRBY', campaign, 'h', 1) - 1
  local head = cmsgpack.pack({ first, unpack(duplicates) })
  redis.call('SET', campaign .. ':r:' .. number, struct.pack('>I2', #head) .. head .. ARGV[4])
  redis.call('ZADD', campaign .. ':c', first, number)
  redis.call('HINCRBY', campaign, 't', accepted)
  redis.call('HINCRBY', campaign, '2', accepted)
end
if #duplicates > 0 then redis.call('HINCRBY', campaign, 'd', #duplicates) end
local refused = cmsgpack.unpack(ARGV[5])
for index = 1, #refused, 2 do
  redis.call('HINCRBY', campaign, 'j', refused[index + 1])
  redis.call('HINCRBY', campaign .. ':e', refused[index], refused[index + 1])
end
if upload then
  redis.call('HSET', upload, ARGV[7], cmsgpack.pack({ ARGV[8], accepted, #duplicates }))
  redis.call('EXPIRE', upload, ARGV[9])
end
return { 'stored', accepted, #duplicates }
