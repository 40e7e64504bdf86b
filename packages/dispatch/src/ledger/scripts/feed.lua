-- Turns the next rows of a campaign into messages, once: whoever comes with an older cursor changes nothing.
-- Stands behind accept.lua, whose step it runs for each row.
-- Arguments: 4 the campaign's number   5 its cursor, as the asker knows it   6 the cursor behind these rows
-- Returns: as accept.lua, or 0 when the campaign is not running or another has fed these rows
local campaign = tag .. ':k:' .. ARGV[4]
local state, cursor, gone = unpack(redis.call('HMGET', campaign, 's', 'f', 'U'))
if tonumber(state) ~= CAMPAIGN_RUNNING or cursor ~= ARGV[5] or gone then return 0 end
local replies = for_each_call(accept)
redis.call('HSET', campaign, 'f', ARGV[6])
redis.call('HINCRBY', campaign, 'F', #replies)
return replies
