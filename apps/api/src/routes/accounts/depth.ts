/** How much of an account is on its way. */
import type { Storage } from '../../storage.ts'

export interface Depth {
  /** Jobs that could go now. */
  waiting: number
  /** Jobs that wait for their time: scheduled, retrying, slowed. */
  delayed: number
  /** Jobs that a worker has in hand. */
  active: number
  /** Messages whose outcome nobody knows. */
  uncertain: number
}

export async function depthOf({ lanes, ledger }: Storage, account: string): Promise<Depth> {
  const [jobs, messages] = await Promise.all([
    lanes.get(account)!.getJobCounts('wait', 'prioritized', 'delayed', 'active'),
    ledger.depths(account),
  ])
  const { wait = 0, prioritized = 0, delayed = 0, active = 0 } = jobs
  return { waiting: wait + prioritized, delayed, active, uncertain: messages.uncertain }
}
