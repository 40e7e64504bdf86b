/**
 * BullMQ's own script that adds a job, to be run within the script that stores its message. Which keys it takes, where
 * its jobs lie and what their options are is asked of BullMQ itself, once for each lane.
 */
import { Job, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import { pack, unpack } from 'msgpackr'
import type { Lane } from './lanes.ts'
import type { LaneScript } from './ledger/index.ts'

/** For jobs without delay and priority. */
const COMMAND = 'addStandardJob'
const known = new WeakMap<Lane, LaneScript>()

/** @returns undefined until the lane has a connection */
export function laneScript(lane: Lane): LaneScript | undefined {
  const before = known.get(lane)
  if (before) return before
  const redis = lane.opts.connection as Redis
  const script = (redis.scriptsSet as Record<string, { lua: string; numberOfKeys: number }>)[COMMAND]
  if (redis.status !== 'ready' || !script) return undefined
  const made = { lua: script.lua, lane: describe(lane, script.numberOfKeys) }
  known.set(lane, made)
  return made
}

/** What accept-onto.lua has to know of the lane. */
function describe(lane: Lane, numberOfKeys: number): Buffer {
  let asked: { command: string; args: (string | Buffer)[] } | undefined
  const listener = {
    runCommand: (command: string, args: (string | Buffer)[]) => {
      asked = { command, args }
    },
  } as unknown as Parameters<RedisQueueBackend['addJobToTransaction']>[0]
  const job = new Job(
    lane,
    'reaction',
    { message: 'msg_', generation: 0, to: '' },
    { jobId: 'msg_-0' },
    'msg_-0',
  )
  void lane.backend.addJobToTransaction(listener, job.asJSON(), 'msg_-0')
  const { command, args } = asked ?? { args: [] }
  const [first, data, options] = args.slice(numberOfKeys)
  const [base, id] = first === undefined ? [] : (unpack(first as Buffer) as string[])
  const isKnown = command === COMMAND && args.length === numberOfKeys + 3 && id === 'msg_-0'
  if (!isKnown || data !== '{"message":"msg_","generation":0,"to":""}')
    throw new Error('this BullMQ adds jobs in another way')
  return pack([args.slice(0, numberOfKeys), base, options])
}
