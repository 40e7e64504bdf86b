/** What the worker counts, for Prometheus and for `GET /v1/accounts`. */
import type { Ledger, OutcomeName } from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export interface Metrics {
  attempted(account: string, outcome: OutcomeName, durationMs: number): void
  waited(account: string, milliseconds: number): void
  retried(account: string): void
}

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** @param inFlight attempts under way in this process */
export function createMetrics(ledger: Ledger, accounts: string[], inFlight: () => number) {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const attempts = new Counter({
    name: 'wa_dispatch_attempts_total',
    help: 'Attempts by account and outcome',
    labelNames: ['account', 'outcome'],
    registers,
  })
  const latency = new Histogram({
    name: 'wa_dispatch_attempt_duration_seconds',
    help: 'From the start of an attempt to the last byte of the answer',
    labelNames: ['account'],
    buckets: seconds,
    registers,
  })
  const wait = new Histogram({
    name: 'wa_dispatch_queue_wait_seconds',
    help: 'From the time a message was due to its claim',
    labelNames: ['account'],
    buckets: [...seconds, 300, 1800, 7200],
    registers,
  })
  const retries = new Counter({
    name: 'wa_dispatch_retries_total',
    help: 'Attempts after which the message was put back to be tried again',
    labelNames: ['account'],
    registers,
  })
  new Gauge({
    name: 'wa_dispatch_in_flight',
    help: 'Attempts under way in this process',
    registers,
    collect() {
      this.set(inFlight())
    },
  })
  new Gauge({
    name: 'wa_dispatch_messages',
    help: 'Messages of the account that wait, are being sent, or are uncertain',
    labelNames: ['account', 'state'],
    registers,
    async collect() {
      for (const account of accounts) {
        const depths = await ledger.depths(account)
        for (const [state, count] of Object.entries(depths)) this.set({ account, state }, count)
      }
    },
  })

  const unwritten = new Map<string, number>()
  // Resolving labels costs more than counting; an account and an outcome are resolved once.
  const resolved = new Map<string, { inc(): void }>()
  const counter = (account: string, outcome: OutcomeName) => {
    const key = `${account} ${outcome}`
    let found = resolved.get(key)
    if (!found) {
      found = attempts.labels(account, outcome)
      resolved.set(key, found)
    }
    return found
  }
  const metrics: Metrics = {
    attempted(account, outcome, durationMs) {
      counter(account, outcome).inc()
      latency.observe({ account }, durationMs / 1000)
      unwritten.set(account, (unwritten.get(account) ?? 0) + 1)
    },
    waited: (account, milliseconds) => wait.observe({ account }, Math.max(0, milliseconds) / 1000),
    retried: (account) => retries.inc({ account }),
  }

  /** Adds the attempts of the last second to the account's measured rate, which all workers share. */
  async function publishRate(redis: Redis): Promise<void> {
    const now = await ledger.now()
    const pipeline = redis.pipeline()
    for (const [account, count] of unwritten) {
      const key = ledger.keysOf(account).rate(Math.floor(now / 1000))
      pipeline.incrby(key, count).expire(key, 60)
    }
    unwritten.clear()
    if (pipeline.length) await pipeline.exec()
  }

  return { registry, metrics, publishRate }
}
