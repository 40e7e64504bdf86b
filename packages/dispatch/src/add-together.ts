/**
 * Adds many jobs to a lane with one command. BullMQ's own `addBulk` sends a command for each job, which costs twice the
 * time in this process. What is added and how stays BullMQ's: its own script, as it gave it to the connection, runs
 * once for each job.
 */
import { Job, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Lane, LaneJob } from './lanes.ts'
import { luaFunction } from './lua-function.ts'

/** BullMQ's arguments for one job: the lane's keys, the same for every job, then these. */
const ARGUMENTS = 3

const repeatedly = (script: string) => `${luaFunction('add_one', script)}
local ids = {}
for at = 1, #ARGV, ${ARGUMENTS} do
  local one = {}
  for argument = 1, ${ARGUMENTS} do one[argument] = ARGV[at + argument - 1] end
  ids[#ids + 1] = add_one(KEYS, one)
end
return ids`

export interface NewJob {
  name: string
  data: LaneJob
  opts: { jobId: string; priority?: number; delay?: number }
}

type Argument = string | number | Buffer
type Command = (args: Argument[]) => Promise<string[]>

/**
 * @returns the ids of what is on the lane now, in no order
 * @throws when not everything was added; what was before the fault is
 */
export async function addTogether(lane: Lane, jobs: NewJob[]): Promise<Set<string>> {
  await lane.waitUntilReady()
  const redis = lane.opts.connection as Redis
  /** By the script that adds them: jobs with a priority and delayed ones have their own. */
  const calls = new Map<string, Argument[][]>()
  const collector = {
    runCommand(script: string, args: Argument[]) {
      const others = calls.get(script)
      if (others) others.push(args)
      else calls.set(script, [args])
    },
  } as unknown as Parameters<RedisQueueBackend['addJobToTransaction']>[0]
  for (const { name, data, opts } of jobs) {
    const job = new Job(lane, name, data, opts, opts.jobId)
    void lane.backend.addJobToTransaction(collector, job.asJSON(), opts.jobId)
  }
  const added = await Promise.all([...calls].map(([script, each]) => runForEach(redis, script, each)))
  return new Set(added.flat())
}

function runForEach(redis: Redis, script: string, calls: Argument[][]): Promise<string[]> {
  const { lua, numberOfKeys } = (redis.scriptsSet as Record<string, { lua: string; numberOfKeys: number }>)[
    script
  ]!
  const together = `${script}-together`
  const commands = redis as unknown as Record<string, Command>
  if (!commands[together]) redis.defineCommand(together, { lua: repeatedly(lua), numberOfKeys })
  const args = calls[0]!.slice(0, numberOfKeys)
  for (const call of calls) {
    if (call.length !== numberOfKeys + ARGUMENTS) throw new Error('this BullMQ adds jobs in another way')
    for (let at = numberOfKeys; at < call.length; at++) args.push(call[at]!)
  }
  return commands[together]!(args)
}
