-- Turns the next rows of a campaign into messages, once: whoever comes with an older cursor changes nothing.
-- Stands behind accept.lua, whose step it runs for each row.
-- Arguments: 4 the campaign's number   5 its cursor, as the asker knows it   6 the cursor behind these rows
-- Returns: as accept.lua, or nothing when the campaign is not running or another has fed these rows
local campaign = tag .. ':k:' .. ARGV[4]
local state, cursor, gone = unpack(redis.call('HMGET', campaign, 's', 'f', 'U'))
if tonumber(state) ~= CAMPAIGN_RUNNING or cursor ~= ARGV[5] or gone then return false end
local fed = 0
local replies = for_each_call(function(call)
  fed = fed + 1
  return accept(call)
end)
redis.call('HSET', campaign, 'f', ARGV[6])
if fed > 0 then redis.call('HINCRBY', campaign, 'F', fed) end
return replies
