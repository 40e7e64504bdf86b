-- Stands in front of each script: where the limits of an account lie and what they are at the moment.
-- Keys: 1 the tag of the account, or of those that share a limit: every key of the limiter that a script uses begins with it
--   :a:account   hash   f: its next free instant   c, q: limits that were set while running (per second, per minute)
--                       r, t: lowered to so many per second, as of when   b, p, n, w, s: the breaker
--   :s           hash   f, r, t of all accounts that share a limit
--   :p:account:to  string  the instant at which the pair's messages will have been paid for
-- Times are in microseconds of Redis' clock.
-- Arguments: 1 account   2 its messages per second   3 of all that share its limit, '' for none
--            4 messages per minute to one recipient, '' for no limit   5 how many of those may go at once
local tag, account = KEYS[1], ARGV[1]
local own, shared = tag .. ':a:' .. account, tag .. ':s'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local OPEN, HALF_OPEN = '1', '2'
-- A wait longer than this (in microseconds), and than one and a half intervals, is not slept through: the job goes
-- back to its lane. Short, because whatever is urgent has to wait behind those that have their instant already.
local HORIZON = 150000
-- A lowered limit stays for so long, and then climbs by these shares of the whole a second: slowly where the truth is
-- likely to be, since each time that it is passed costs a rest, and faster the longer nobody says that it is too much.
local PLATEAU, CLIMB, FASTER = 10000000, 0.000625, 0.00001

-- What a scope allows now: messages per second, its next free instant, and when it was lowered.
local function scope(key, configured)
  local free, set, lowered, at = unpack(redis.call('HMGET', key, 'f', 'c', 'r', 't'))
  local limit = tonumber(set) or configured
  free, lowered, at = tonumber(free) or 0, tonumber(lowered), tonumber(at)
  if lowered then
    local seconds = math.max(0, now - at - PLATEAU) / 1000000
    local climbed = lowered + limit * (CLIMB + FASTER * seconds) * seconds
    if climbed < limit then return climbed, free, at, limit end
    redis.call('HDEL', key, 'r', 't')
  end
  return limit, free, nil, limit
end

-- How far ahead instants are given where messages lie so far apart.
local function horizon_of(interval) return math.max(HORIZON, 1.5 * interval) end

local function pair_limit()
  local set = redis.call('HGET', own, 'q')
  local per_minute = tonumber(set) or (not set and tonumber(ARGV[4])) or nil
  return per_minute and per_minute > 0 and 60000000 / per_minute or nil, tonumber(ARGV[5])
end

local function text(number) return string.format('%.0f', number) end
