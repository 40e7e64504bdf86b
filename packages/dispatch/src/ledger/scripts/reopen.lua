-- Puts a failed message of a campaign back into the queue.
-- Call: 2 content
-- Returns: { generation, due } or { -1, 0 } when there is nothing to do
local core = load()
if not core or core[STATE] ~= FAILED or campaign_state(core) ~= CAMPAIGN_RUNNING then return { -1, 0 } end
put_error(core, '')
core[GENERATION] = core[GENERATION] + 1
core[TRIES] = 0
core[FLAGS] = bit.band(core[FLAGS], IDEMPOTENT)
move(core, QUEUED, now)
contents[content_key] = call[2]
return { core[GENERATION], now }
