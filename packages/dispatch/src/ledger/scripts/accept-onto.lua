-- Takes messages in and puts their jobs on the lane, in one go: what can be sent at once needs no second script.
-- Stands behind accept.lua, whose step it runs for each message, and BullMQ's own script, here add_job, which is given as
-- they are the arguments that it would unpack.
-- Arguments: 4 the lane, msgpack: { its keys, what its jobs' keys begin with, options of a job }
-- Calls: as accept.lua, and 12 the job's name
-- Returns: as accept.lua
local keys, base, options = unpack(cmsgpack.unpack(ARGV[4]))
local fresh = {}
local replies = for_each_call(function(call)
  local before = fields[bucket] and fields[bucket][slot]
  local reply = accept(call)
  if fields[bucket] and fields[bucket][slot] ~= before then fresh[#fresh + 1] = call end
  return reply
end)

-- They are stored: should BullMQ fail now, the sweeper adds what is missing.
for _, call in ipairs(fresh) do
  local message, reference = 'msg_' .. call[1], ''
  if call[7] ~= '' then reference = ',"reference":' .. cjson.encode(call[7]) end
  options.jobId = message .. '-0'
  pcall(add_job, keys, {
    { base, options.jobId, call[12], now },
    string.format('{"message":"%s","generation":0,"to":"%.0f"%s}', message, call[2], reference),
    options,
  })
end
return replies
