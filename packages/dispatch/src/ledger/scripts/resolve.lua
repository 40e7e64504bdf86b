-- Decides an uncertain message.
-- Call: 2 'submitted', 'failed', 'resend' or 'hold'   3 1 when a rule decides and not a person
--       4 the error for 'failed' (see ../record.ts)
-- Returns: { 1 when decided, else 0;  the state's number, 0 when unknown;  generation }
local core = load()
if not core then return { 0, 0, 0 } end
if core[STATE] ~= UNCERTAIN then return { 0, core[STATE], core[GENERATION] } end
local as = call[2]
-- A rule never sends again what the provider answered with a 2xx.
if call[3] == 1 and as == 'resend' and bit.band(core[FLAGS], ANSWERED) ~= 0 then as = 'hold' end
if as == 'hold' then
  enlist(UNCERTAIN_LIST, '+inf')
elseif as == 'submitted' then
  put_error(core, '')
  move(core, SUBMITTED)
elseif as == 'failed' then
  put_error(core, call[4])
  move(core, FAILED)
elseif campaign_state(core) == CAMPAIGN_CANCELLED then
  -- Its claim would be refused, and nobody looks after jobs of a cancelled campaign.
  move(core, CANCELLED)
else
  put_error(core, '')
  core[GENERATION] = core[GENERATION] + 1
  core[FLAGS] = bit.band(core[FLAGS], IDEMPOTENT)
  move(core, QUEUED, now)
end
return { 1, core[STATE], core[GENERATION] }
