/** What the last look through all messages of each account found, as metrics. */
import { Questions, readReconciliation } from '@wa-dispatch/dispatch'
import { Gauge, type Registry } from 'prom-client'
import type { Storage } from './storage.ts'

/** @returns reads it anew; to be called before the registry is read, throws when Redis is away */
export function reconciliationMetrics(registry: Registry, storage: Storage): () => Promise<void> {
  const gauge = (name: string, help: string) =>
    new Gauge({ name: `wa_dispatch_${name}`, help, labelNames: ['account'], registers: [registry] })
  const unheard = gauge(
    'unheard',
    'Messages submitted long ago of which no receipt came, when all were looked through last',
  )
  const mended = gauge(
    'reconciled_mended',
    'Lost jobs and claims that were mended when all messages were looked through last',
  )
  const at = gauge(
    'reconciled_timestamp_seconds',
    'When all messages of the account were looked through last, since 1970',
  )
  const toAsk = gauge('questions_waiting', 'Messages that the provider is to be asked about, now or later')
  const questions = new Questions(storage.redis, storage.ledger)

  return async () => {
    for (const metric of [unheard, mended, at, toAsk]) metric.reset()
    for (const account of storage.accounts.keys()) {
      toAsk.set({ account }, await questions.count(account))
      const last = await readReconciliation(storage.ledger, storage.redis, account)
      if (!last) continue
      unheard.set({ account }, last.unheard)
      mended.set({ account }, last.mended)
      at.set({ account }, last.at / 1_000)
    }
  }
}
