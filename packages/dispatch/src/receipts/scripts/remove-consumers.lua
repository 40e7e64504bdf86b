-- Takes consumers that are gone off the group. One that still holds entries stays: they would go with it.
-- Keys: 1 the stream   Arguments: 1 the group   2 for how long a consumer has to be silent, ms   3 only this one, '' for all
-- Returns: how many were taken off
local found = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if found.err then return 0 end
local removed = 0
for _, fields in ipairs(found) do
  local consumer = {}
  for at = 1, #fields, 2 do consumer[fields[at]] = fields[at + 1] end
  local meant = ARGV[3] == '' or ARGV[3] == consumer.name
  if meant and consumer.pending == 0 and consumer.idle >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed
