/**
 * How many of the last attempts came to nothing, for the breaker: counted here, added up by the limiter once a second,
 * so that it costs an attempt nothing.
 */
import { type Account, type BreakerReason, isLost, type Limiter } from '@wa-dispatch/dispatch'
import type { SendOutcome } from '@wa-dispatch/providers'
import type { Logger } from 'pino'

interface Seen {
  lost: number
  all: number
  reason: BreakerReason
}

export class RecentOutcomes {
  #seen = new Map<string, Seen>()

  saw(account: string, outcome: SendOutcome): void {
    // Being too fast is the limiter's to mend.
    if (outcome.outcome === 'throttled') return
    const seen = this.#seen.get(account) ?? { lost: 0, all: 0, reason: reasonOf(outcome) }
    this.#seen.set(account, seen)
    seen.all++
    if (!isLost(outcome)) return
    seen.lost++
    seen.reason = reasonOf(outcome)
  }

  /** Tells the limiter what was seen since the last time. */
  async flush(accounts: Account[], limiter: Limiter, log: Logger): Promise<void> {
    const collected = this.#seen
    this.#seen = new Map()
    for (const account of accounts) {
      const seen = collected.get(account.id)
      if (!seen) continue
      const { lost, all, reason } = seen
      if (await limiter.observe(account, lost, all, reason))
        log.error({ account: account.id, ...reason }, 'breaker.opened')
    }
  }
}

/** In words that hold no recipient. */
export const reasonOf = ({ code, outcome }: SendOutcome): BreakerReason => ({
  code,
  kind: outcome,
  message: 'Half of the attempts of the last half minute, or a probe, came to nothing.',
})
