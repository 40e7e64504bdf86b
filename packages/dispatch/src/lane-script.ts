/**
 * BullMQ's own script that adds a job, to be run within the script that stores its message. Which keys it takes, where
 * its jobs lie and what their options are is asked of BullMQ itself, once for each lane.
 */
import { Job, type RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import { pack, unpack } from 'msgpackr'
import type { Lane } from './lanes.ts'
import type { LaneScript } from './ledger/index.ts'

const known = new WeakMap<Lane, LaneScript>()

/** @returns undefined until the lane has a connection; then the script for jobs without delay and priority */
export function laneScript(lane: Lane): LaneScript | undefined {
  const before = known.get(lane)
  if (before) return before
  const redis = lane.opts.connection as Redis
  if (redis.status !== 'ready') return undefined
  const { command, args } = asked(lane)
  // What scripts/accept-onto.lua leans on: keys, then a job's description, its data and its options.
  const script = (redis.scriptsSet as Record<string, { lua: string; numberOfKeys: number }>)[command]
  if (!script) return undefined
  const [description, data, options, ...more] = args.slice(script.numberOfKeys)
  const [base, id, name] = description ? (unpack(description as Buffer) as string[]) : []
  // Its packed arguments are given to it unpacked: it must not pack any itself.
  const unpacks = script.lua.match(/cmsgpack\.\w+/g)?.every((name) => name === 'cmsgpack.unpack')
  const isKnown = unpacks && id === JOB.opts.jobId && name === JOB.name && data === JSON.stringify(JOB.data)
  if (!isKnown || more.length > 0) throw new Error('this BullMQ adds jobs in another way')
  const made = {
    lua: script.lua,
    lane: pack([args.slice(0, script.numberOfKeys), base, unpack(options as Buffer)]),
  }
  known.set(lane, made)
  return made
}

const JOB = { name: 'reaction', data: { message: 'msg_', generation: 0, to: '' }, opts: { jobId: 'msg_-0' } }

/** What BullMQ would run to add a job. */
function asked(lane: Lane): { command: string; args: (string | Buffer)[] } {
  let call = { command: '', args: [] as (string | Buffer)[] }
  const listener = {
    runCommand: (command: string, args: (string | Buffer)[]) => {
      call = { command, args }
    },
  } as unknown as Parameters<RedisQueueBackend['addJobToTransaction']>[0]
  const job = new Job(lane, JOB.name, JOB.data, JOB.opts, JOB.opts.jobId)
  void lane.backend.addJobToTransaction(listener, job.asJSON(), JOB.opts.jobId)
  return call
}
