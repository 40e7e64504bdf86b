/** What this worker counts, for Prometheus; names begin with `wa_dispatch_worker_`. The API tells the sum of all. */
import {
  DURATION_BUCKETS,
  type OutcomeName,
  receiptLabel,
  type TotalsWriter,
  WAIT_BUCKETS,
} from '@wa-dispatch/dispatch'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { PostBackMetrics } from './post-backs.ts'
import type { ReceiptMetrics } from './receipts.ts'

export interface Metrics extends ReceiptMetrics, PostBackMetrics {
  attempted(account: string, outcome: OutcomeName, durationMs: number): void
  /** Since the message was due. */
  waited(account: string, milliseconds: number): void
  /** The message was put back to be tried again. */
  retried(account: string): void
}

/**
 * @param now what holds at the moment: attempts under way in this process; accounts whose lanes it should work on and
 * does not
 */
export function createMetrics(
  accounts: string[],
  totals: TotalsWriter,
  now: { inFlight: () => number; stalled: () => string[]; postBacksInFlight: () => number },
): { registry: Registry; metrics: Metrics } {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const shared = { labelNames: ['account'], registers: [registry] }
  const attempts = new Counter({
    name: 'wa_dispatch_worker_attempts_total',
    help: 'Attempts of this process by account and outcome',
    labelNames: ['account', 'outcome'],
    registers: [registry],
  })
  const duration = new Histogram({
    name: 'wa_dispatch_worker_attempt_duration_seconds',
    help: 'From the start of an attempt to the last byte of the answer',
    buckets: [...DURATION_BUCKETS],
    ...shared,
  })
  const wait = new Histogram({
    name: 'wa_dispatch_worker_queue_wait_seconds',
    help: 'From the time a message was due to its claim',
    buckets: [...WAIT_BUCKETS],
    ...shared,
  })
  const retries = new Counter({
    name: 'wa_dispatch_worker_retries_total',
    help: 'Attempts after which the message was put back to be tried again',
    ...shared,
  })
  const receipts = new Counter({
    name: 'wa_dispatch_worker_receipts_total',
    help: 'Receipts that this process applied by account, what they say, and whether their message was known',
    labelNames: ['account', 'status', 'matched'],
    registers: [registry],
  })
  const receiptDelay = new Histogram({
    name: 'wa_dispatch_worker_receipt_delay_seconds',
    help: 'From the arrival of a receipt to its being applied',
    buckets: [...WAIT_BUCKETS],
    ...shared,
  })
  const postBacks = new Counter({
    name: 'wa_dispatch_worker_post_backs_total',
    help: 'Calls of this process to callers by account and what came of them; dead: given up',
    labelNames: ['account', 'outcome'],
    registers: [registry],
  })
  const postBackDuration = new Histogram({
    name: 'wa_dispatch_worker_post_back_duration_seconds',
    help: 'From the start of a call to a caller to the end of its answer',
    buckets: [...DURATION_BUCKETS],
    ...shared,
  })
  new Gauge({
    name: 'wa_dispatch_worker_post_backs_in_flight',
    help: 'Calls of this process to callers that are under way',
    registers: [registry],
    collect() {
      this.set(now.postBacksInFlight())
    },
  })
  new Gauge({
    name: 'wa_dispatch_worker_in_flight',
    help: 'Attempts under way in this process',
    registers: [registry],
    collect() {
      this.set(now.inFlight())
    },
  })
  new Gauge({
    name: 'wa_dispatch_worker_lane_stalled',
    help: '1 while the lane has work, nothing keeps it, and this process takes none of it',
    ...shared,
    collect() {
      const stalled = now.stalled()
      for (const account of accounts) this.set({ account }, stalled.includes(account) ? 1 : 0)
    },
  })
  // Resolving labels costs more than counting, so an account's are resolved once.
  const lanes = new Map(
    accounts.map((account) => [
      account,
      {
        duration: duration.labels(account),
        wait: wait.labels(account),
        retries: retries.labels(account),
        receiptDelay: receiptDelay.labels(account),
      },
    ]),
  )
  const metrics: Metrics = {
    attempted(account, outcome, durationMs) {
      totals.attempted(account, outcome, durationMs)
      attempts.inc({ account, outcome })
      lanes.get(account)?.duration.observe(durationMs / 1_000)
    },
    waited(account, milliseconds) {
      totals.waited(account, milliseconds)
      lanes.get(account)?.wait.observe(Math.max(0, milliseconds) / 1_000)
    },
    retried(account) {
      totals.retried(account)
      lanes.get(account)?.retries.inc()
    },
    postBackAttempted(account, outcome, durationMs) {
      totals.postBackAttempted(account, outcome)
      postBacks.inc({ account, outcome })
      postBackDuration.observe({ account }, durationMs / 1_000)
    },
    postBackDead(account) {
      totals.postBackDead(account)
      postBacks.inc({ account, outcome: 'dead' })
    },
    receiptApplied(account, status, matched, sinceArrivalMs) {
      totals.receiptApplied(account, status, sinceArrivalMs)
      receipts.inc({ account, status: receiptLabel(status), matched: matched ? 'yes' : 'no' })
      lanes.get(account)?.receiptDelay.observe(Math.max(0, sinceArrivalMs) / 1_000)
    },
  }
  return { registry, metrics }
}
