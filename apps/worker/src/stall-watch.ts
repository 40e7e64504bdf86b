/**
 * Notices lanes that this process no longer works on although it could: jobs wait, the lane is neither paused, limited
 * nor shut, and none of them is taken. Whatever the cause (a connection that swallows what it is given, a loop that has
 * ended), the process is not ready then, and when it stays so it ends, so that its supervisor starts it anew.
 */
import type { Account, Lane, Limiter } from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'

export interface WatchedLane {
  account: Account
  lane: Lane
  /** What this process has in hand of the lane, and how many jobs it has ever taken from it. */
  hands: { full: number; taken: number }
}

interface StallWatchOptions {
  /** Not the lanes' own connection: that may be what is broken. */
  redis: Redis
  limiter: Limiter
  lanes: WatchedLane[]
  stalledAfterMs: number
  /** Called once, when a lane has been stalled for as long again. */
  onHopeless: (reason: string) => void
}

/** A check that comes so many intervals late says that the whole process, or Redis, stood still: that is no stall. */
const LATE_INTERVALS = 3
/** BullMQ's scores of delayed jobs hold their time in ms in the upper bits. */
const DELAYED_SCORE = 0x1000

export class StallWatch {
  readonly #options: StallWatchOptions
  readonly #intervalMs: number
  readonly #idle = new Map<WatchedLane, { sinceMs: number; taken: number }>()
  #checkedAt = performance.now()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: StallWatchOptions) {
    this.#options = options
    this.#intervalMs = Math.min(1_000, options.stalledAfterMs / 5)
  }

  start(): void {
    const loop = async () => {
      await this.#check().catch(() => this.#idle.clear())
      if (!this.#closed) this.#timer = setTimeout(loop, this.#intervalMs)
    }
    this.#timer = setTimeout(loop, this.#intervalMs)
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#idle.clear()
  }

  /** The accounts whose lanes are stalled. */
  stalled(): string[] {
    return this.#idleFor(this.#options.stalledAfterMs)
  }

  /** In words; empty when all is well. */
  reasons(): string[] {
    const seconds = this.#options.stalledAfterMs / 1_000
    return this.stalled().map(
      (account) => `the lane ${account} has work, and this worker has taken none of it for ${seconds} s`,
    )
  }

  #idleFor(ms: number): string[] {
    const until = performance.now() - ms
    return [...this.#idle].filter(([, { sinceMs }]) => sinceMs <= until).map(([{ account }]) => account.id)
  }

  async #check(): Promise<void> {
    const { lanes, stalledAfterMs, onHopeless } = this.#options
    for (const watched of lanes) {
      const { hands } = watched
      const before = this.#idle.get(watched)
      const worked = hands.full > 0 || (before && before.taken !== hands.taken)
      if (worked || !(await this.#couldWork(watched))) this.#idle.delete(watched)
      else if (!before) this.#idle.set(watched, { sinceMs: performance.now(), taken: hands.taken })
    }
    const now = performance.now()
    if (now - this.#checkedAt > LATE_INTERVALS * this.#intervalMs) this.#idle.clear()
    this.#checkedAt = now
    const [account] = this.#idleFor(2 * stalledAfterMs)
    if (account === undefined || this.#closed) return
    this.#closed = true
    onHopeless(`${this.reasons().join('; ')}; it ends, to be started anew`)
  }

  /** Whether there is something to be taken and nothing that forbids it. */
  async #couldWork({ account, lane }: WatchedLane): Promise<boolean> {
    const { redis, limiter, stalledAfterMs } = this.#options
    if (redis.status !== 'ready') return false
    const overdue = (Date.now() - stalledAfterMs) * DELAYED_SCORE
    const [wait, prioritized, delayed, [paused, most], fetched] = await Promise.all([
      redis.llen(lane.toKey('wait')),
      redis.zcard(lane.toKey('prioritized')),
      redis.zcount(lane.toKey('delayed'), 0, overdue),
      redis.hmget(lane.toKey('meta'), 'paused', 'max'),
      redis.get(lane.toKey('limiter')),
    ])
    if (wait + prioritized + delayed === 0 || paused) return false
    if (fetched && Number(fetched) >= Number(most ?? 1)) return false
    return (await limiter.read(account)).breaker.state === 'closed'
  }
}
