/** A lane is the account's BullMQ queue. A job only names its message: the ledger decides what happens. */
import { type Job, type JobsOptions, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { addTogether } from './add-together.ts'
import { type Ledger, lanePrefix, type MessageId } from './ledger/index.ts'
import { fetchWindow, type LimitedAccount, type Limiter } from './limiter/limiter.ts'

/** What a worker needs before it claims a message, and what a person sees of it on the dashboard. */
export interface LaneJob {
  message: string
  generation: number
  /** The recipient, for the pair's limit; the dashboard masks it. */
  to: string
  reference?: string | undefined
  /** Its turn with this recipient was given to it. */
  paired?: boolean
}

export const PRIORITIES = ['transactional', 'bulk'] as const
export type Priority = (typeof PRIORITIES)[number]

/** BullMQ serves jobs without a priority before all that have one, and these by number. */
const jobPriority = ({ priority, ofCampaign }: LaneEntry): JobsOptions => {
  if (priority === 'bulk') return { priority: 10 }
  return ofCampaign ? { priority: 5 } : {}
}

/** A message for a lane. */
export interface LaneEntry {
  id: MessageId
  generation: number
  to: string
  /** The kind of content: the job's name. */
  type: string
  reference?: string | undefined
  priority: Priority
  /** A campaign's messages never go before single ones of the same priority. */
  ofCampaign?: boolean
  /** Milliseconds from now. */
  delayMs: number
}

export type Lane = Queue<LaneJob, unknown, string>
export type LaneQueueJob = Job<LaneJob, unknown, string>

/** For BullMQ's workers: the ledger has the history, so a lane keeps few of its finished jobs. */
export const FINISHED_JOBS_KEPT = { removeOnComplete: { count: 100 }, removeOnFail: { count: 500 } }

export function createLane(account: string, ledger: Ledger, connection: Redis): Lane {
  return new Queue(account, {
    connection,
    prefix: lanePrefix(ledger.numberOf(account)),
    skipVersionCheck: true,
  })
}

export const jobIdOf = (id: MessageId, generation: number): string => `${id.text}-${generation}`

/**
 * Adds jobs in one go. Adding one that is there changes nothing.
 * @throws when not every job was taken; repeating is harmless
 */
export async function addToLane(lane: Lane, entries: LaneEntry[]): Promise<void> {
  if (entries.length === 0) return
  const added = await addTogether(
    lane,
    entries.map((entry) => {
      const { id, generation, to, type, reference, delayMs } = entry
      return {
        name: type,
        data: {
          message: id.text,
          generation,
          to,
          ...(reference !== undefined && { reference }),
        },
        opts: {
          jobId: jobIdOf(id, generation),
          ...jobPriority(entry),
          ...(delayMs > 0 && { delay: Math.ceil(delayMs) }),
        },
      }
    }),
  )
  const missing = entries.filter(({ id, generation }) => !added.has(jobIdOf(id, generation)))
  if (missing.length) throw new Error(`${missing.length} of ${entries.length} jobs were not added`)
}

/** Country and operator stay readable, the subscriber does not: `9198••••3210`. */
export function maskPhone(digits: string): string {
  return digits.length < 9
    ? '•'.repeat(digits.length)
    : `${digits.slice(0, 4)}${'•'.repeat(digits.length - 8)}${digits.slice(-4)}`
}

/**
 * Sets the lane's fetch window where all workers of it read it.
 * @param wideness how many jobs are fetched for one that may be sent
 */
export async function prepareLane(
  lane: Lane,
  account: LimitedAccount,
  limiter: Limiter,
  wideness = 1,
): Promise<void> {
  const { perSecond } = await limiter.read(account)
  const window = fetchWindow(perSecond * wideness)
  if (window) await lane.setGlobalRateLimit(window.max, window.durationMs)
  else await lane.removeGlobalRateLimit()
}
