/**
 * Looks through every account's messages from time to time. Any number of workers run this, one of them does it at a
 * time; where it stands lies in Redis, so that another goes on when it dies. Two at a time would do no harm.
 */
import { AccountRuns, type MendedLane, type ReconcileTools, reconcileKey } from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { Lease } from './lease.ts'
import { repeat } from './repeat.ts'

export interface ReconcilerOptions extends ReconcileTools {
  redis: Redis
  lanes: MendedLane[]
  log: Logger
  /** Without a receipt for so long, a submitted message is unheard. */
  afterMs: number
  /** From the beginning of one run to that of the next; 0 for never. */
  everyMs: number
}

/** Between two looks at whether it is time. */
const LOOK_MS = 2_000
/** Another goes on when the one who reconciles has not been heard of for so long. */
const LEASE_MS = 15_000

export class Reconciler {
  readonly #options: ReconcilerOptions
  readonly #runs: AccountRuns
  readonly #lease: Lease
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#lease = new Lease(options.redis, reconcileKey, LEASE_MS)
    this.#runs = new AccountRuns(options.redis, options)
  }

  start(): void {
    const { everyMs, log } = this.#options
    if (everyMs <= 0) return
    this.#running = repeat(
      this.#closing.signal,
      () => this.look().then(() => LOOK_MS),
      (reason) => {
        log.warn({ reason }, 'reconcile.failed')
        return LOOK_MS
      },
    )
  }

  /** A run stops where it is; it goes on here or in another worker. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    await this.#lease.release()
  }

  /** Runs over the accounts whose time has come, one after the other, when it is this process that reconciles. */
  async look(): Promise<void> {
    const { lanes, afterMs, everyMs, log } = this.#options
    const goesOn = async () => !this.#closing.signal.aborted && (await this.#lease.hold())
    for (const lane of lanes) {
      if (!(await goesOn())) return
      const result = await this.#runs.tend(lane, { afterMs, everyMs, goesOn })
      if (!result) continue
      const { startedAt, at, lookedAt, ...counts } = result
      log.info(
        { account: lane.account.id, looked_at: lookedAt, ...counts, duration_ms: at - startedAt },
        'reconcile.done',
      )
    }
  }
}
