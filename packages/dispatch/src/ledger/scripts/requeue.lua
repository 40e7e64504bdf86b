-- Gives a waiting message whose job is gone a new job: the old one, should it still come, is superseded.
-- Call: 2 the generation whose job is gone
-- Returns: { new generation, due } or { -1, 0 } when there is nothing to do
local core = load()
if not core or not is_waiting(core[STATE]) or core[GENERATION] ~= call[2] then return { -1, 0 } end
core[GENERATION] = core[GENERATION] + 1
save(core)
return { core[GENERATION], core[DUE] }
