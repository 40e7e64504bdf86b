-- What holds for the account at the moment, in all its scopes together.
-- Returns: per second (text), configured per second (text), pair per minute ('' for none), lowered as of when in ms or '',
--          the breaker: '' when closed, '1' open, '2' half open;  why;  since in ms;  next probe in ms
local limit, _, lowered_at, configured = scope(own, tonumber(ARGV[2]))
local interval = pair_limit()
if tonumber(ARGV[3]) then
  local shared_limit, _, shared_lowered_at = scope(shared, tonumber(ARGV[3]))
  limit = math.min(limit, shared_limit)
  lowered_at = lowered_at or shared_lowered_at
end
local breaker, why, since, probe_at = unpack(redis.call('HMGET', own, 'b', 'w', 's', 'p'))
return {
  tostring(limit), tostring(configured), interval and tostring(60000000 / interval) or '',
  lowered_at and text(lowered_at / 1000) or '',
  breaker or '', why or '', since or '', probe_at and text(tonumber(probe_at) / 1000) or '',
}
