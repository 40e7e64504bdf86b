/** One BullMQ worker per lane: how jobs come to the story in process-dispatch.ts. */
import { fetchWindow, type Lane, type LaneJob, parseMessageId } from '@wa-dispatch/dispatch'
import { UnrecoverableError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { applyVerdict } from './bullmq-verdict.ts'
import { type DispatchDependencies, processDispatch } from './process-dispatch.ts'

/** A job's lock outlasts the attempt by far, so that only a dead or frozen worker loses it. */
export const lockDurationMs = (timeoutMs: number): number => Math.max(10_000, 3 * timeoutMs)

/** A job that stalls is always taken up again: the ledger decides what may be done with it. */
const NEVER = 1_000_000_000

export type LaneWorker = Worker<LaneJob, string>

/** Sets the lane's limits where all workers of it read them. */
export async function prepareLane(lane: Lane, { account }: DispatchDependencies): Promise<void> {
  const window = fetchWindow(account.rateLimit.perSecond)
  await lane.setGlobalRateLimit(window.max, window.durationMs)
}

export function startLaneWorker(
  lane: Lane,
  dependencies: DispatchDependencies,
  connection: Redis,
  concurrency: number,
): LaneWorker {
  const { account, log } = dependencies
  const worker: LaneWorker = new Worker(
    lane.name,
    async (job, token, signal) => {
      const id = parseMessageId(job.data.message)
      if (!id) throw new UnrecoverableError(`${job.data.message} is no message id`)
      const verdict = await processDispatch({ id, generation: job.data.generation }, dependencies, signal)
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
      maximumRateLimitDelay: 5_000,
      drainDelay: 5,
      skipVersionCheck: true,
    },
  )
  worker.on('lockRenewalFailed', (jobIds) => {
    for (const jobId of jobIds) worker.cancelJob(jobId, 'the lock on the job was lost')
  })
  worker.on('error', (error) => log.warn({ account: account.id, reason: error.message }, 'lane.error'))
  return worker
}
