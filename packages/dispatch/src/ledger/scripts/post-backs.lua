-- Takes events that callers are to be told of: of each message the oldest, of each receiver as many as it has room for.
-- Arguments: 3 the room of some receivers, msgpack: { receiver, how many }, …   4 the room of any other   5 how many in all
--            6 after how many ms what is taken and not settled comes back
-- Returns: for each { id without `msg_`, event's number, state, when, tries, when first tried (0: not yet), receiver,
--          recipient, campaign's number, request id, reference, error or '', callback or '' }
local LOOKED_AT = 500
local room = {}
for _, one in ipairs(cmsgpack.unpack(ARGV[3])) do room[one[1]] = one[2] end
local room_of_others, most, lease = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local taken = {}
local function take_event(receiver, pending)
  local core = load()
  local number, event
  if core then number, event = next_pending(list_of('v')) end
  if not event then return redis.call('ZREM', pending, id) end
  redis.call('ZADD', pending, now + lease, id)
  local first = event[5] > 0 and core[CREATED] + event[5] or 0
  local error = event[1] == FAILED and (event[6] or list_of('e')) or ''
  taken[#taken + 1] = {
    id, number, event[1], core[CREATED] + event[2], event[4], first, receiver, core[TO], core[CAMPAIGN],
    read(slot .. 'r') or '', joined('f'), error,
    redis.call('GET', tag .. ':y:' .. id) or '',
  }
end

for _, receiver in ipairs(redis.call('ZRANGEBYSCORE', RECEIVERS, '-inf', now, 'LIMIT', 0, LOOKED_AT)) do
  local left = most - #taken
  if left < 1 then break end
  local pending = tag .. ':p:' .. receiver
  local free = math.min(room[receiver] or room_of_others, left)
  if free > 0 then
    for _, its_id in ipairs(redis.call('ZRANGEBYSCORE', pending, '-inf', now, 'LIMIT', 0, free)) do
      take(its_id)
      take_event(receiver, pending)
    end
  end
  local first = redis.call('ZRANGE', pending, 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', RECEIVERS, receiver)
  elseif free > 0 and tonumber(first[2]) > now then
    redis.call('ZADD', RECEIVERS, first[2], receiver)
  else
    -- It has more, and no room: others first. It is looked at again when one of its calls ends, or soon.
    redis.call('ZADD', RECEIVERS, now + 250, receiver)
  end
end
return cmsgpack.pack(taken)
