-- Ends a message that waits.
-- Call: 2 the final state's number: cancelled or expired
-- Returns: { 1 when ended now, else 0;  the state's number, 0 when unknown;  generation }
local core = load()
if not core then return { 0, 0, 0 } end
local final = call[2]
if not is_waiting(core[STATE]) then return { 0, core[STATE], core[GENERATION] } end
if final == EXPIRED and not (core[EXPIRES] > 0 and core[EXPIRES] <= now) then return { 0, core[STATE], core[GENERATION] } end
move(core, final)
return { 1, final, core[GENERATION] }
