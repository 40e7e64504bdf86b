-- Changes what a campaign does. None of it walks the rows: the feeder does what is left to do.
-- Keys: 1 the account's tag
-- Arguments: 1 now in ms   2 the campaign's number   3 its salt   4 action   5 JSON: the retry's codes, the lane's work that is done, which retry stands where (-1: it is over), or retention in seconds
-- Returns: { what came of it, the campaign's state }
--   'done', 'refused' (its state does not allow it), 'empty' (it has no rows), 'over' (its time is over), 'unknown'
local DRAFT, SCHEDULED, RUNNING, PAUSED, FINISHED, CANCELLED = 1, 2, 3, 4, 5, 6
local M_QUEUED, M_UNCERTAIN, M_CANCELLED, M_EXPIRED = 2, 5, 11, 12 -- messages' states, see ../../ledger/record.ts
local JOBS_OFF, JOBS_ON, END_WAITING = 1, 2, 3 -- what the feeder has to do on the lane
local campaign = KEYS[1] .. ':k:' .. ARGV[2]
local now, action = tonumber(ARGV[1]), ARGV[4]
local state, salt, total, fed, gone, send_at, expires_at =
  unpack(redis.call('HMGET', campaign, 's', 'x', 't', 'F', 'U', 'from', 'until'))
if salt ~= ARGV[3] then return { 'unknown', 0 } end
state, send_at, expires_at = tonumber(state), tonumber(send_at) or 0, tonumber(expires_at)

-- Each piece of work has a number, so that one that ends late does not end another.
local function lane_work(work) return work .. ':' .. redis.call('HINCRBY', campaign, 'runs', 1) end
local function become(next_state, ...)
  redis.call('HSET', campaign, 's', next_state, ...)
  redis.call('SADD', KEYS[1] .. ':ka', ARGV[2])
  return { 'done', next_state }
end
-- Rows that are no messages yet will never be.
local function give_up_rows(as)
  if gone then return end
  local unfed = total - fed
  redis.call('HSET', campaign, 'U', as)
  if unfed == 0 then return end
  redis.call('HINCRBY', campaign, M_QUEUED, -unfed)
  redis.call('HINCRBY', campaign, as, unfed)
end
local function write_retry(retry)
  local text = cjson.encode(retry)
  -- An empty list is an empty object to cjson.
  if #retry.codes == 0 then text = string.gsub(text, '"codes":{}', '"codes":[]') end
  redis.call('HSET', campaign, 'R', text)
end
local kept = { campaign, campaign .. ':c', campaign .. ':e' } -- as long as it may go on, and for its retention
local on_its_way = send_at > now and SCHEDULED or RUNNING

if action == 'start' and state == DRAFT then
  if total == '0' then return { 'empty', state } end
  if expires_at and expires_at <= now then return { 'over', state } end
  return become(on_its_way, 'sA', ARGV[1])
elseif action == 'due' and state == SCHEDULED and on_its_way == RUNNING then
  return become(RUNNING)
elseif action == 'pause' and (state == SCHEDULED or state == RUNNING) then
  return become(PAUSED, 'P', lane_work(JOBS_OFF))
elseif action == 'resume' and state == PAUSED then
  redis.call('HDEL', campaign, 'S') -- the pause is no part of its rate
  return become(on_its_way, 'P', lane_work(JOBS_ON))
elseif action == 'cancel' and state <= PAUSED then
  give_up_rows(M_CANCELLED)
  redis.call('HDEL', campaign, 'R')
  return become(CANCELLED, 'P', lane_work(END_WAITING))
elseif action == 'expire' and state >= SCHEDULED and state <= PAUSED and expires_at and expires_at <= now and not gone then
  give_up_rows(M_EXPIRED)
  return { 'done', state }
elseif action == 'retry' and (state == RUNNING or state == PAUSED or state == FINISHED) then
  -- Also what an earlier retry still had before it: from the beginning again, for its codes and these.
  local before = redis.call('HGET', campaign, 'R')
  local codes = cjson.decode(ARGV[5])
  if before then
    local earlier = cjson.decode(before).codes
    if #earlier == 0 or #codes == 0 then
      codes = {}
    else
      for _, code in ipairs(earlier) do codes[#codes + 1] = code end
    end
  end
  local run = redis.call('HINCRBY', campaign, 'runs', 1)
  write_retry({ run = run, cursor = 0, to = tonumber(redis.call('HGET', campaign, 'f')), codes = codes })
  for _, key in ipairs(kept) do redis.call('PERSIST', key) end
  redis.call('HDEL', campaign, 'zA')
  return become(state == FINISHED and RUNNING or state)
elseif action == 'finish' and (state == RUNNING or state == PAUSED or state == CANCELLED) then
  if redis.call('HEXISTS', campaign, 'R') == 1 or redis.call('HEXISTS', campaign, 'zA') == 1 then return { 'refused', state } end
  for open = 1, M_UNCERTAIN do
    if (tonumber(redis.call('HGET', campaign, open)) or 0) > 0 then return { 'refused', state } end
  end
  return become(state == CANCELLED and CANCELLED or FINISHED, 'zA', ARGV[1], 'Z', 1)
elseif action == 'retried' then
  local before = redis.call('HGET', campaign, 'R')
  local run, cursor = unpack(cjson.decode(ARGV[5]))
  local retry = before and cjson.decode(before)
  if retry and retry.run == run then
    retry.cursor = cursor
    if cursor < 0 then redis.call('HDEL', campaign, 'R') else write_retry(retry) end
  end
  return { 'done', state }
elseif action == 'worked' then
  if redis.call('HGET', campaign, 'P') == ARGV[5] then redis.call('HDEL', campaign, 'P') end
  return { 'done', state }
elseif action == 'retire' and redis.call('HEXISTS', campaign, 'zA') == 1 then
  for _, key in ipairs(kept) do redis.call('EXPIRE', key, ARGV[5]) end
  redis.call('SREM', KEYS[1] .. ':ka', ARGV[2])
  return { 'done', state }
end
return { 'refused', state }
