-- Applies receipts of one account, in whatever order they come; a repeated one changes nothing. What matches no message
-- waits in the pen, for settle.lua to learn its request id or for another receipt to name its wamid.
-- Calls: 1 our id without `msg_`, '' for none   2 when, in ms   3 the provider's word   4 the state it means, 0 for none
--        5 request id   6 its hash   7 wamid   8 its hash, '' for none   9 error's code   10 kind   11 message   12 recipient
--        13 1 when the provider told no time, and `when` is when it came
-- Returns: for each { the id without `msg_`, '' for none;  the state's number;  1 when it moved }
local PENNED_TOGETHER, PENNED_MOST, SWEPT = 20, 250000, 50
local account = tonumber(string.match(tag, '{(%d+)}'))
-- WhatsApp tries for 30 days; a retention of years must not make each unknown name a look-up a day.
local HEARD_FOR_DAYS = 31
local today, days = math.floor(now / 86400000), math.min(math.ceil(retention / 86400), HEARD_FOR_DAYS) + 2

-- The message that the provider calls so; its name stands in `field`.
local function named(name, hash, field)
  if name == '' then return nil end
  -- From tomorrow on: the clock of a Redis that took over may be behind that of the one before.
  for day = today + 1, today - days, -1 do
    local sequence = redis.call('HGET', index_of(day, hash))
    if sequence then
      local place = string.format('%04x%010x', account, sequence)
      take(place .. '00000000')
      local packed = read(slot)
      if packed and (field == 'r' and read(slot .. 'r') or joined('m')) == name then
        take(place .. string.format('%08x', cmsgpack.unpack(packed)[SALT]))
        return load()
      end
    end
  end
end

local function find(call)
  if call[1] ~= '' then
    take(call[1])
    local core = load()
    if core then return core end
  end
  return named(call[5], call[6], 'r') or named(call[7], call[8], 'm')
end

local function drop(hash)
  redis.call('HDEL', PEN, hash)
  redis.call('ZREM', PEN_BY_TIME, hash)
end

local function pen(receipt, hash)
  if hash == '' then hash = 'x' .. redis.call('INCR', tag .. ':hn') end
  local held = redis.call('HGET', PEN, hash)
  local together = held and cmsgpack.unpack(held) or {}
  for _, known in ipairs(together) do
    if known[2] == receipt[2] and (known[1] == receipt[1] or receipt[13] == 1) then return end
  end
  if #together >= PENNED_TOGETHER then return end
  together[#together + 1] = receipt
  redis.call('HSET', PEN, hash, cmsgpack.pack(together))
  redis.call('ZADD', PEN_BY_TIME, now, hash)
  for _, key in ipairs({ PEN, PEN_BY_TIME }) do redis.call('EXPIRE', key, retention) end
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', PEN_BY_TIME, '-inf', now - retention * 1000, 'LIMIT', 0, SWEPT)) do drop(old) end
  if redis.call('ZCARD', PEN_BY_TIME) > PENNED_MOST then drop(redis.call('ZRANGE', PEN_BY_TIME, 0, 0)[1]) end
end

local replies = {}
for index, call in ipairs(cmsgpack.unpack(ARGV[3])) do
  local receipt = { call[2], call[3], call[4], call[5], call[7], call[8], call[9], call[10], call[11], call[12], call[1], now, call[13] }
  local core = find(call)
  if core then
    local moved = receive(core, receipt)
    replies[index] = { id, core[STATE], moved and 1 or 0 }
  else
    pen(receipt, call[6] ~= '' and call[6] or call[8])
    replies[index] = { '', 0, 0 }
  end
end
finish()
return cmsgpack.pack(replies)
