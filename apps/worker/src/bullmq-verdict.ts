/** The only place that speaks BullMQ's control flow: a verdict becomes a return or one of its control errors. */
import type { Lane, LaneQueueJob } from '@wa-dispatch/dispatch'
import { DelayedError, RateLimitError, UnrecoverableError } from 'bullmq'
import type { Verdict } from './process-dispatch.ts'

/**
 * @param token the worker's lock on the job
 * @returns what is kept with the finished job
 * @throws BullMQ's control errors
 */
export async function applyVerdict(
  verdict: Verdict,
  job: LaneQueueJob,
  lane: Lane,
  token: string | undefined,
): Promise<string> {
  switch (verdict.kind) {
    case 'done':
      return verdict.state
    case 'failed':
      throw withoutStack(new UnrecoverableError(verdict.reason))
    case 'later':
      await keepTurn(job, verdict.paired)
      await job.moveToDelayed(Date.now() + Math.max(0, verdict.inMs), token)
      throw new DelayedError()
    case 'rest':
      await keepTurn(job, verdict.paired)
      await lane.rateLimit(Math.max(1, Math.ceil(verdict.forMs)))
      throw new RateLimitError()
  }
}

/** A turn with the recipient that was given and not used is kept with the job; one that was used is not. */
async function keepTurn(job: LaneQueueJob, paired = false): Promise<void> {
  if (paired !== (job.data.paired ?? false)) await job.updateData({ ...job.data, paired })
}

/** A dashboard's reader wants to know why, not where in our code; and each stack would lie in Redis. */
function withoutStack(error: Error): Error {
  error.stack = error.message
  return error
}
