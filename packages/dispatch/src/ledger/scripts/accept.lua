-- Takes messages in, as many as arrived together. A repeat with the same id changes nothing.
-- Keys: from 5 on two a message: its bucket, its content; after all of those the references' indexes
-- Arguments: from 3 on seven a message: id   recipient   due in ms, 0 for at once   expires at in ms, 0 for never
--            idempotent (1 or 0)   content   reference, '' for none
-- Returns: two a message: the state's number, due
local FIELDS = 7
local count = (#ARGV - 2) / FIELDS
local next_reference = 5 + 2 * count
local results = {}

for index = 0, count - 1 do
  local at = 3 + index * FIELDS
  take(KEYS[5 + 2 * index], KEYS[6 + 2 * index], ARGV[at])
  local reference, reference_key = ARGV[at + 6], nil
  if reference ~= '' then
    reference_key = KEYS[next_reference]
    next_reference = next_reference + 1
  end

  local core = load()
  if not core then
    local due = tonumber(ARGV[at + 2])
    core = { 0, 0, salt, tonumber(ARGV[at + 1]), now, 0, 0, 0, tonumber(ARGV[at + 4]), 0, tonumber(ARGV[at + 3]) }
    redis.call('SET', content_key, ARGV[at + 5])
    if redis.call('HINCRBY', bucket, 'o', 1) == 1 then redis.call('PERSIST', bucket) end
    if reference_key then
      put('f', reference)
      redis.call('ZADD', reference_key, now, id)
      local keep = math.max(0, math.ceil((due - now) / 1000)) + 2 * retention
      if redis.call('TTL', reference_key) < keep then redis.call('EXPIRE', reference_key, keep) end
    end
    move(core, due > now and SCHEDULED or QUEUED, math.max(due, now))
  end
  results[2 * index + 1], results[2 * index + 2] = core[STATE], core[DUE]
end
return results
