/**
 * Looks through every account's messages from time to time. Any number of workers run this, one of them does it at a
 * time; where it stands lies in Redis, so that another goes on when it dies. Two at a time would do no harm.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { AccountRuns, type MendedLane, type ReconcileTools, reconcileKey } from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'

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
  readonly #token = randomBytes(9).toString('base64url')
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: ReconcilerOptions) {
    this.#options = options
    this.#runs = new AccountRuns(options.redis, options)
  }

  start(): void {
    if (this.#options.everyMs > 0) this.#running = this.#loop()
  }

  /** A run stops where it is; it goes on here or in another worker. */
  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    const { redis } = this.#options
    if ((await redis.get(reconcileKey)) === this.#token) await redis.del(reconcileKey)
  }

  async #loop(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await this.look().catch((error: Error) =>
        this.#options.log.warn({ reason: error.message }, 'reconcile.failed'),
      )
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  /** Runs over the accounts whose time has come, one after the other, when it is this process that reconciles. */
  async look(): Promise<void> {
    const { lanes, afterMs, everyMs, log } = this.#options
    const goesOn = async () => !this.#closing.signal.aborted && (await this.#holdsLease())
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

  async #holdsLease(): Promise<boolean> {
    const { redis } = this.#options
    if ((await redis.set(reconcileKey, this.#token, 'PX', LEASE_MS, 'NX')) === 'OK') return true
    if ((await redis.get(reconcileKey)) !== this.#token) return false
    return (await redis.pexpire(reconcileKey, LEASE_MS)) === 1
  }
}
