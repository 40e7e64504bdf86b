/**
 * What all workers together have done, per account, for `/metrics` and for the measured rate: each worker adds what it
 * counted once a second, so that counting costs a message nothing. A worker that is killed takes at most its last
 * second of counts with it; the ledger, not these, says what happened to a message.
 */
import type { Redis } from 'ioredis'
import type { Ledger, OutcomeName } from './ledger/index.ts'
import { receiptLabel } from './receipts/status-label.ts'

/** Upper bounds in seconds. */
export const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const
export const WAIT_BUCKETS = [...DURATION_BUCKETS, 300, 1_800, 7_200] as const

/** Over how many full seconds the rate is measured. */
const RATE_SECONDS = 10

export interface HistogramTotals {
  /** How many were not above each bound; cumulative. */
  buckets: { upTo: number; count: number }[]
  sum: number
  count: number
}

export interface Totals {
  attempts: Partial<Record<OutcomeName, number>>
  retries: number
  /** By what they say, see {@link receiptLabel}. */
  receipts: Record<string, number>
  /** Calls to callers by what came of them, and `dead` for those given up. */
  postBacks: Record<string, number>
  duration: HistogramTotals
  wait: HistogramTotals
  receipt: HistogramTotals
}

type Measure = 'duration' | 'wait' | 'receipt'
const bounds: Record<Measure, readonly number[]> = {
  duration: DURATION_BUCKETS,
  wait: WAIT_BUCKETS,
  receipt: WAIT_BUCKETS,
}

/** Collects in the worker, adds up in Redis. */
export class TotalsWriter {
  readonly #ledger: Ledger
  readonly #redis: Redis
  #counts = new Map<string, Map<string, number>>()

  constructor(ledger: Ledger, redis: Redis) {
    this.#ledger = ledger
    this.#redis = redis
  }

  attempted(account: string, outcome: OutcomeName, durationMs: number): void {
    this.#add(account, `attempts:${outcome}`, 1)
    this.#observe(account, 'duration', durationMs)
  }

  waited(account: string, milliseconds: number): void {
    this.#observe(account, 'wait', Math.max(0, milliseconds))
  }

  retried(account: string): void {
    this.#add(account, 'retries', 1)
  }

  /** @param sinceArrivalMs from its arrival to its being applied */
  receiptApplied(account: string, status: string, sinceArrivalMs: number): void {
    this.#add(account, `receipts:${receiptLabel(status)}`, 1)
    this.#observe(account, 'receipt', Math.max(0, sinceArrivalMs))
  }

  /** @param outcome what came of one call */
  postBackAttempted(account: string, outcome: string): void {
    this.#add(account, `postbacks:${outcome}`, 1)
  }

  postBackDead(account: string): void {
    this.#add(account, 'postbacks:dead', 1)
  }

  #observe(account: string, measure: Measure, milliseconds: number): void {
    const bound = bounds[measure].find((upTo) => milliseconds <= upTo * 1_000)
    this.#add(account, `${measure}:${bound ?? 'inf'}`, 1)
    this.#add(account, `${measure}:sum`, Math.round(milliseconds))
  }

  #add(account: string, field: string, count: number): void {
    const counts = this.#counts.get(account) ?? new Map<string, number>()
    this.#counts.set(account, counts)
    counts.set(field, (counts.get(field) ?? 0) + count)
  }

  /** Adds what was collected since the last time. */
  async flush(): Promise<void> {
    if (this.#counts.size === 0 || this.#redis.status !== 'ready') return
    const collected = this.#counts
    this.#counts = new Map()
    const second = Math.floor((await this.#ledger.now()) / 1_000)
    const pipeline = this.#redis.pipeline()
    for (const [account, counts] of collected) {
      const keys = this.#ledger.keysOf(account)
      let attempts = 0
      for (const [field, count] of counts) {
        pipeline.hincrby(keys.totals, field, count)
        if (field.startsWith('attempts:')) attempts += count
      }
      if (attempts > 0) pipeline.incrby(keys.rate(second), attempts).expire(keys.rate(second), 60)
    }
    await pipeline.exec()
  }
}

/** @returns what all workers have done for the account, since its Redis is there */
export async function readTotals(ledger: Ledger, redis: Redis, account: string): Promise<Totals> {
  const fields = await redis.hgetall(ledger.keysOf(account).totals)
  const value = (field: string) => Number(fields[field] ?? 0)
  const histogram = (measure: Measure): HistogramTotals => {
    let count = 0
    const buckets = bounds[measure].map((upTo) => {
      count += value(`${measure}:${upTo}`)
      return { upTo, count }
    })
    return { buckets, sum: value(`${measure}:sum`) / 1_000, count: count + value(`${measure}:inf`) }
  }
  /** Counts of one kind by what stands behind it. */
  const each = (kind: string): Record<string, number> =>
    Object.fromEntries(
      Object.entries(fields).flatMap(([field, count]) =>
        field.startsWith(kind) ? [[field.slice(kind.length), Number(count)]] : [],
      ),
    )
  return {
    attempts: each('attempts:'),
    retries: value('retries'),
    receipts: each('receipts:'),
    postBacks: each('postbacks:'),
    duration: histogram('duration'),
    wait: histogram('wait'),
    receipt: histogram('receipt'),
  }
}

/** @returns attempts a second over the last ten full seconds */
export async function readRate(ledger: Ledger, redis: Redis, account: string): Promise<number> {
  const second = Math.floor((await ledger.now()) / 1_000)
  const { rate } = ledger.keysOf(account)
  const counts = await redis.mget(Array.from({ length: RATE_SECONDS }, (_, back) => rate(second - 1 - back)))
  return counts.reduce((sum, count) => sum + Number(count ?? 0), 0) / RATE_SECONDS
}
