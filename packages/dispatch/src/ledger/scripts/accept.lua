-- Takes messages in, as many as arrived together. A repeat with the same id changes nothing; a slot that holds another
-- message (its sequence number was given away twice by a Redis that lost its last moments) is left alone.
-- Keys: from 5 on two a message: its bucket, its content; after all of those the references' indexes
-- Arguments: from 3 on seven a message: id   recipient   due in ms, 0 for at once   expires at in ms, 0 for never
--            idempotent (1 or 0)   content   reference, '' for none
-- Returns: two a message: the state's number, due; -1, 0 for one whose slot is taken
local FIELDS = 7
local REFERENCES_KEPT = 10000
local count = (#ARGV - 2) / FIELDS
local next_reference = 5 + 2 * count
local results, contents, waiting, expiring, buckets = {}, {}, {}, {}, {}

for index = 0, count - 1 do
  local at = 3 + index * FIELDS
  take(KEYS[5 + 2 * index], KEYS[6 + 2 * index], ARGV[at])
  local reference, reference_key = ARGV[at + 6], nil
  if reference ~= '' then
    reference_key = KEYS[next_reference]
    next_reference = next_reference + 1
  end

  local held = redis.call('HGET', bucket, slot)
  local fresh = buckets[bucket]
  if not held and fresh and fresh.cores[slot] then held = fresh.cores[slot] end
  local state, due = -1, 0
  if held then
    local core = cmsgpack.unpack(held)
    if core[SALT] == salt then state, due = core[STATE], core[DUE] end
  else
    if not fresh then
      fresh = { fields = {}, cores = {}, count = 0 }
      buckets[bucket] = fresh
    end
    due = tonumber(ARGV[at + 2])
    state = due > now and SCHEDULED or QUEUED
    due = math.max(due, now)
    local expires = tonumber(ARGV[at + 3])
    local core = { state, 0, salt, tonumber(ARGV[at + 1]), now, 0, 0, 0, tonumber(ARGV[at + 4]), due, expires }
    fresh.cores[slot] = cmsgpack.pack(core)
    fresh.fields[#fresh.fields + 1] = slot
    fresh.fields[#fresh.fields + 1] = fresh.cores[slot]
    fresh.count = fresh.count + 1
    contents[#contents + 1] = content_key
    contents[#contents + 1] = ARGV[at + 5]
    waiting[#waiting + 1] = due
    waiting[#waiting + 1] = id
    if expires > 0 then
      expiring[#expiring + 1] = expires
      expiring[#expiring + 1] = id
    end
    if reference_key then
      put('f', reference)
      redis.call('ZADD', reference_key, now, id)
      -- A reference that is used again and again must not grow for ever.
      redis.call('ZREMRANGEBYRANK', reference_key, 0, -REFERENCES_KEPT - 1)
      local keep = math.max(0, math.ceil((due - now) / 1000)) + 2 * retention
      if redis.call('TTL', reference_key) < keep then redis.call('EXPIRE', reference_key, keep) end
    end
  end
  results[2 * index + 1], results[2 * index + 2] = state, due
end

if #contents > 0 then
  redis.call('MSET', unpack(contents))
  redis.call('ZADD', KEYS[1], unpack(waiting))
  if #expiring > 0 then redis.call('ZADD', KEYS[4], unpack(expiring)) end
  for key, fresh in pairs(buckets) do
    redis.call('HSET', key, unpack(fresh.fields))
    if redis.call('HINCRBY', key, 'o', fresh.count) == fresh.count then redis.call('PERSIST', key) end
  end
end
return results
