-- Writes what became of one call to a receiver, or puts an event back by hand.
-- Call: 2 the event's number   3 'delivered', 'later', 'dead' or 'again' (by hand)   4 in how many ms it is tried again
--       5 code   6 duration in ms
-- Returns: { 1 when it was written, else 0 }
local CALLS_KEPT = 20
local core = load()
local events = core and list_of('v') or {}
local event = events[call[2]]
if not event then return { 0 } end
local what, receiver = call[3], core[RECEIVER]
local pending, dead, member = tag .. ':p:' .. receiver, tag .. ':pz', id .. '.' .. call[2]
-- A call that was given up for lost may end after its repetition has.
if (what == 'again') == (event[3] == PENDING) then return { 0 } end

if what == 'again' then
  event[3], event[4], event[5] = PENDING, 0, 0
  redis.call('ZREM', dead, member)
else
  local calls = list_of('y')
  local after = now - core[CREATED]
  if #calls >= CALLS_KEPT then table.remove(calls, 1) end
  calls[#calls + 1] = { call[2], after - call[6], call[5], call[6] }
  put_again('y', cmsgpack.pack(calls))
  event[4] = event[4] + 1
  if event[5] == 0 then event[5] = math.max(1, after - call[6]) end
  if what == 'delivered' then event[3] = TOLD end
  if what == 'dead' then
    event[3] = DEAD
    redis.call('ZADD', dead, now, member)
    redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - retention * 1000)
    redis.call('EXPIRE', dead, retention)
  end
end
put_again('v', cmsgpack.pack(events))
if next_pending(events) then
  enlist(pending, now + (what == 'later' and call[4] or 0))
else
  enlist(pending, false)
end
-- It has room for another one now.
announced[receiver] = true
return { 1 }
