/** What all workers together have done, as metrics of the API: one scrape tells the whole. */
import { type HistogramTotals, readTotals, type Totals } from '@wa-dispatch/dispatch'
import { Counter, Gauge, type Metric, type Registry } from 'prom-client'
import type { Storage } from './storage.ts'

type Found = [account: string, totals: Totals][]

/** A histogram whose counts lie in Redis; the library's own can only observe. */
function storedHistogram(
  name: string,
  help: string,
  read: () => Iterable<[string, HistogramTotals]>,
): Metric {
  const values = () =>
    [...read()].flatMap(([account, { buckets, sum, count }]) => [
      ...buckets.map((bucket) => ({
        metricName: `${name}_bucket`,
        labels: { account, le: bucket.upTo },
        value: bucket.count,
      })),
      { metricName: `${name}_bucket`, labels: { account, le: '+Inf' }, value: count },
      { metricName: `${name}_sum`, labels: { account }, value: sum },
      { metricName: `${name}_count`, labels: { account }, value: count },
    ])
  const metric = {
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    get: async () => ({ name, help, type: 'histogram', aggregator: 'sum', values: values() }),
    reset: () => undefined,
  }
  return metric as unknown as Metric
}

/** @returns reads the totals anew; to be called before the registry is read, throws when Redis is away */
export function dispatchTotals(registry: Registry, storage: Storage): () => Promise<void> {
  let found: Found = []
  const registers = [registry]
  const attempts = new Counter({
    name: 'wa_dispatch_attempts_total',
    help: 'Attempts of all workers by account and outcome',
    labelNames: ['account', 'outcome'],
    registers,
  })
  const retries = new Counter({
    name: 'wa_dispatch_retries_total',
    help: 'Attempts after which the message was put back to be tried again',
    labelNames: ['account'],
    registers,
  })
  const receipts = new Counter({
    name: 'wa_dispatch_receipts_total',
    help: 'Receipts that all workers applied by account and what they say',
    labelNames: ['account', 'status'],
    registers,
  })
  const postBacks = new Counter({
    name: 'wa_dispatch_post_backs_total',
    help: 'Calls to callers by account and what came of them; dead: given up',
    labelNames: ['account', 'outcome'],
    registers,
  })
  const unmatched = new Gauge({
    name: 'wa_dispatch_receipts_unmatched',
    help: 'Request ids and wamids with receipts that match no message so far',
    labelNames: ['account'],
    registers,
  })
  const arriving = new Gauge({
    name: 'wa_dispatch_receipts_waiting',
    help: 'Receipts that came and are not applied yet; those that came together count as one',
    labelNames: ['account'],
    registers,
  })
  const messages = new Gauge({
    name: 'wa_dispatch_messages',
    help: 'Messages of the account that wait, are in flight (sending), or are uncertain',
    labelNames: ['account', 'state'],
    registers,
  })
  registry.registerMetric(
    storedHistogram(
      'wa_dispatch_attempt_duration_seconds',
      'From the start of an attempt to the last byte of the answer',
      () => found.map(([account, { duration }]) => [account, duration]),
    ),
  )
  registry.registerMetric(
    storedHistogram(
      'wa_dispatch_receipt_delay_seconds',
      'From the arrival of a receipt to its being applied',
      () => found.map(([account, { receipt }]) => [account, receipt]),
    ),
  )
  registry.registerMetric(
    storedHistogram('wa_dispatch_queue_wait_seconds', 'From the time a message was due to its claim', () =>
      found.map(([account, { wait }]) => [account, wait]),
    ),
  )

  return async () => {
    found = []
    for (const metric of [attempts, retries, receipts, postBacks, unmatched, arriving, messages])
      metric.reset()
    for (const account of storage.accounts.keys()) {
      const totals = await readTotals(storage.ledger, storage.redis, account)
      found.push([account, totals])
      for (const [outcome, count] of Object.entries(totals.attempts))
        attempts.inc({ account, outcome }, count)
      retries.inc({ account }, totals.retries)
      for (const [status, count] of Object.entries(totals.receipts)) receipts.inc({ account, status }, count)
      unmatched.set({ account }, await storage.ledger.unmatchedCount(account))
      for (const [outcome, count] of Object.entries(totals.postBacks))
        postBacks.inc({ account, outcome }, count)
      arriving.set({ account }, await storage.receipts.depth(account))
      const depths = await storage.ledger.depths(account)
      for (const [state, count] of Object.entries(depths)) messages.set({ account, state }, count)
    }
  }
}
