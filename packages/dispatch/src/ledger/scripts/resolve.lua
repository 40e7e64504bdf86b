-- Decides an uncertain message.
-- Arguments: 4 'submitted', 'failed', 'resend' or 'hold'   5 1 when a rule decides and not a person
--            6 packed error for 'failed'
-- Returns: { 1 when decided, else 0;  the state's number, 0 when unknown;  generation }
local core = load()
if not core then return { 0, 0, 0 } end
if core[STATE] ~= UNCERTAIN then return { 0, core[STATE], core[GENERATION] } end
local as = ARGV[4]
-- A rule never sends again what the provider answered with a 2xx.
if ARGV[5] == '1' and as == 'resend' and bit.band(core[FLAGS], ANSWERED) ~= 0 then as = 'hold' end
if as == 'hold' then
  redis.call('ZADD', KEYS[3], '+inf', id)
elseif as == 'submitted' then
  put('e', '')
  move(core, SUBMITTED)
elseif as == 'failed' then
  put('e', ARGV[6])
  move(core, FAILED)
else
  put('e', '')
  core[GENERATION] = core[GENERATION] + 1
  core[FLAGS] = bit.band(core[FLAGS], IDEMPOTENT)
  move(core, QUEUED, now)
end
return { 1, core[STATE], core[GENERATION] }
