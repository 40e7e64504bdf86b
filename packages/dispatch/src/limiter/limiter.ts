/**
 * An account's rate, obeyed by all workers together. Two layers:
 *
 * - BullMQ's own limiter in short windows keeps workers from pulling more jobs than they could send
 *   ({@link fetchWindow}); a fixed window alone would let twice its size pass around its edge.
 * - The limiter gives each attempt an instant of its own, evenly spaced, by Redis' clock.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

/** An instant of one's own, or none. */
export interface Turn {
  reserved: boolean
  /** Until the instant; or for how long to leave the lane alone. */
  waitMs: number
}

export interface Limiter {
  /**
   * Asks for the next free instant of an account.
   * @param perSecond the account's limit
   * @returns how long to wait until it; or, where it is too far away to wait for it in a slot, for how long to leave
   *   the lane alone; milliseconds
   */
  reserve(key: string, perSecond: number): Promise<Turn>
  /** Gives no instant away for so long. */
  rest(key: string, milliseconds: number): Promise<void>
}

/**
 * A wait longer than this, and than one and a half intervals, is not slept through: the job goes back to its lane.
 * Short, because whatever is urgent has to wait behind those that have their instant already.
 */
const HORIZON_MS = 150
/** Between what we send and what arrives lies a little jitter: this keeps it from adding up to more than the limit. */
const MARGIN = 0.02
/** How much of a hiccup may be made up for where instants lie so close that a timer misses them. */
const slackMs = (perSecond: number): number => (perSecond > 100 ? 10 : 0)

const source = (name: string) => readFileSync(new URL(`${name}.lua`, import.meta.url), 'utf8')

interface Asker {
  resolve(turn: Turn): void
  reject(error: unknown): void
}

/**
 * Who asks in the same tick is served by one script.
 * @param redis shared by all processes whose attempts count together
 */
export function createLimiter(redis: Redis): Limiter {
  redis.defineCommand('limiterReserve', { lua: source('reserve'), numberOfKeys: 1 })
  redis.defineCommand('limiterRest', { lua: source('rest'), numberOfKeys: 1 })
  const commands = redis as unknown as {
    limiterReserve(key: string, ...intervalSlackHorizonCount: number[]): Promise<[number, number]>
    limiterRest(key: string, microseconds: number): Promise<number>
  }
  const asking = new Map<string, Asker[]>()

  async function serve(key: string, perSecond: number): Promise<void> {
    const askers = asking.get(key) ?? []
    asking.delete(key)
    const intervalMs = (1_000 / perSecond) * (1 + MARGIN)
    const horizonMs = Math.max(HORIZON_MS, 1.5 * intervalMs)
    const inMicroseconds = [intervalMs, slackMs(perSecond), horizonMs].map((ms) => ms * 1_000)
    try {
      const [given, microseconds] = await commands.limiterReserve(key, ...inMicroseconds, askers.length)
      const firstMs = microseconds / 1_000
      for (const [index, asker] of askers.entries()) {
        const waitMs = Math.max(0, firstMs + index * intervalMs)
        asker.resolve(
          index < given
            ? { reserved: true, waitMs }
            : { reserved: false, waitMs: Math.max(1, waitMs - horizonMs / 2) },
        )
      }
    } catch (error) {
      for (const asker of askers) asker.reject(error)
    }
  }

  return {
    reserve(key, perSecond) {
      return new Promise((resolve, reject) => {
        const together = asking.get(key)
        if (together) together.push({ resolve, reject })
        else {
          asking.set(key, [{ resolve, reject }])
          process.nextTick(() => void serve(key, perSecond))
        }
      })
    },
    async rest(key, milliseconds) {
      await commands.limiterRest(key, Math.round(milliseconds * 1_000))
    },
  }
}

/** Several workers together do not fetch as fast as this: a window would only cost. */
const FASTER_THAN_WORKERS = 20_000

/**
 * The limit in a short window for BullMQ: about a tenth of a second, a tenth more than the limit,
 * since the instants are what really paces.
 * @returns undefined where no window is needed
 */
export function fetchWindow(perSecond: number): { max: number; durationMs: number } | undefined {
  if (perSecond >= FASTER_THAN_WORKERS) return undefined
  const max = Math.max(1, Math.round(perSecond / 10))
  return { max, durationMs: Math.max(1, Math.round((max / perSecond) * 1000 * 0.9)) }
}
