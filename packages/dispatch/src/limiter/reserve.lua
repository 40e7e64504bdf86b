-- Gives each message an instant of its own, in all scopes or in none (the generic cell rate algorithm).
-- Arguments: 6 share by which instants lie further apart than they need to   7 how far behind an unused instant may
--            still be used, where they are closer together than 10 ms
--            8 for how long a probe is waited for (all in microseconds)
--            9 from here on the recipients, '' for one whose turn with its recipient was given before
-- Returns: the time now, then two a message: what, and in how many microseconds
local GO, PROBE, REST, PAIR, SHUT = 1, 2, 3, 4, 5
local margin = 1 + tonumber(ARGV[6])
local replies = { now }
local function reply(what, wait)
  replies[#replies + 1], replies[#replies + 2] = what, math.floor(math.max(0, wait))
end

-- A limit that was found out by trying has its margin in it.
local limit, free, lowered_at = scope(own, tonumber(ARGV[2]))
local interval = 1000000 / limit * (lowered_at and 1 or margin)
local shared_limit, shared_free, shared_interval = tonumber(ARGV[3]), 0, 0
if shared_limit then
  shared_limit, shared_free, lowered_at = scope(shared, shared_limit)
  shared_interval = 1000000 / shared_limit * (lowered_at and 1 or margin)
end
local slowest = math.max(interval, shared_interval)
local horizon = horizon_of(slowest)
-- Pacing never leads further than this: what does is a rest that the provider asked for.
local furthest = horizon + 1.1 * slowest
local slack = slowest < 10000 and tonumber(ARGV[7]) or 0
local pair_interval, pair_burst = pair_limit()

local breaker, probe_at = unpack(redis.call('HMGET', own, 'b', 'p'))
probe_at = tonumber(probe_at)

local function pair_key(to) return tag .. ':p:' .. account .. ':' .. to end
local function take_pair(to, at, paid)
  local until_ = math.max(paid, at) + pair_interval
  redis.call('SET', pair_key(to), text(until_), 'PX', math.ceil((until_ - now) / 1000) + 10000)
end

for index = 9, #ARGV do
  local to = ARGV[index]
  local has_pair = pair_interval and to ~= ''
  local paid = has_pair and tonumber(redis.call('GET', pair_key(to))) or 0
  local pair_at = paid - (pair_burst - 1) * (pair_interval or 0)
  if breaker and now < probe_at then
    reply(SHUT, probe_at - now)
  elseif has_pair and pair_at > now then
    -- Its turn with this recipient is given now, so that it waits once and nobody passes it.
    take_pair(to, now, paid)
    reply(PAIR, pair_at - now)
  else
    -- An account's own instants may lie far apart: those of the others must not have to lie behind them.
    local shared_at = math.max(shared_free, now - slack)
    local at = math.max(free, shared_at)
    if at - now > furthest then
      reply(SHUT, at - now)
    elseif at - now > horizon then
      reply(REST, at - now - horizon / 2)
    else
      free, shared_free = at + interval, shared_at + shared_interval
      if has_pair then take_pair(to, at, paid) end
      reply(breaker and PROBE or GO, at - now)
      if breaker then
        breaker, probe_at = HALF_OPEN, math.max(now, at) + tonumber(ARGV[8])
        redis.call('HSET', own, 'b', breaker, 'p', text(probe_at))
      end
    end
  end
end
redis.call('HSET', own, 'f', text(free))
if shared_limit then redis.call('HSET', shared, 'f', text(shared_free)) end
return replies
