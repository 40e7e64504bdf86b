/** One BullMQ worker per lane: how jobs come to the story in process-dispatch.ts. */
import { setTimeout as sleep } from 'node:timers/promises'
import { FINISHED_JOBS_KEPT, type Lane, type LaneJob, parseMessageId } from '@wa-dispatch/dispatch'
import { UnrecoverableError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { applyVerdict } from './bullmq-verdict.ts'
import { type DispatchDependencies, processDispatch } from './process-dispatch.ts'
import type { WatchedLane } from './stall-watch.ts'

/** A job's lock outlasts the attempt by far, so that only a dead or frozen worker loses it. */
export const lockDurationMs = (timeoutMs: number): number => Math.max(10_000, 3 * timeoutMs)

/** A job that stalls is always taken up again: the ledger decides what may be done with it. */
const NEVER = 1_000_000_000

/**
 * To keep a completed job for the dashboard, and to throw the oldest of them away, is a quarter of what Redis does for
 * it. Nobody looks at more than a few a second.
 */
const COMPLETED_KEPT_PER_SECOND = 10

export type LaneWorker = Worker<LaneJob, string>

export function startLaneWorker(
  lane: Lane,
  dependencies: DispatchDependencies,
  connection: Redis,
  concurrency: number,
  hands: WatchedLane['hands'],
): LaneWorker {
  const { account, log } = dependencies
  const kept = new Sample(COMPLETED_KEPT_PER_SECOND)
  const worker: LaneWorker = new Worker(
    lane.name,
    async (job, token) => {
      const id = parseMessageId(job.data.message)
      if (!id) throw new UnrecoverableError(`${job.data.message} is no message id`)
      const { generation, to, paired = false } = job.data
      hands.full++
      hands.taken++
      const verdict = await processDispatch(
        { job: job.id!, id, generation, to, paired },
        dependencies,
      ).finally(() => hands.full--)
      if (!kept.take()) job.opts.removeOnComplete = true
      return applyVerdict(verdict, job, lane, token)
    },
    {
      connection,
      prefix: lane.opts.prefix ?? 'bull',
      concurrency,
      lockDuration: lockDurationMs(account.timeoutMs),
      stalledInterval: 5_000,
      maxStalledCount: NEVER,
      runRetryDelay: 1_000,
      // What was put back with a priority wakes nobody: it waits for the next look.
      maximumRateLimitDelay: 500,
      drainDelay: 1,
      skipVersionCheck: true,
      ...FINISHED_JOBS_KEPT,
    },
  )
  worker.waitUntilReady().then(
    () => dependencies.jobEnds.join(connection),
    () => undefined, // told by the connection's own listener
  )
  worker.on('error', (error) => {
    // A Redis that is away is in the log already, once.
    if (connection.status === 'ready') log.warn({ account: account.id, reason: error.message }, 'lane.error')
  })
  return worker
}

/** What BullMQ may still have to write once the last attempt has ended. */
const LAST_WORDS_MS = 2_000

/**
 * Takes no more jobs and waits for the attempts in flight. BullMQ's own close waits for a Redis that is away, also
 * when nothing is in flight any more: then nothing is lost by going.
 * @param idle resolves when no attempt is in flight
 */
export async function closeLaneWorkers(workers: LaneWorker[], idle: () => Promise<void>): Promise<void> {
  const closing = Promise.all(workers.map((worker) => worker.close()))
  await Promise.race([closing, idle().then(() => sleep(LAST_WORDS_MS))])
}

/** Lets the first few of each second through. */
class Sample {
  readonly #perSecond: number
  #since = 0
  #taken = 0

  constructor(perSecond: number) {
    this.#perSecond = perSecond
  }

  take(): boolean {
    const now = performance.now()
    if (now - this.#since >= 1_000) {
      this.#since = now
      this.#taken = 0
    }
    return ++this.#taken <= this.#perSecond
  }
}
