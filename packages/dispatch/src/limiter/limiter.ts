/**
 * An account's rate, obeyed by all workers together. Two layers:
 *
 * - BullMQ's own limiter in short windows keeps workers from pulling more jobs than they could send
 *   ({@link fetchWindow}); a fixed window alone would let twice its size pass around its edge.
 * - The limiter gives each attempt an instant of its own, evenly spaced, by Redis' clock.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'

export interface Limiter {
  /**
   * Asks for the next free instant of an account.
   * @param perSecond the account's limit
   * @returns how long to wait until it; or, where it is too far away to wait for it in a slot, for how long to leave
   *   the lane alone; milliseconds
   */
  reserve(key: string, perSecond: number): Promise<{ reserved: boolean; waitMs: number }>
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

/** @param redis shared by all processes whose attempts count together */
export function createLimiter(redis: Redis): Limiter {
  redis.defineCommand('limiterReserve', { lua: source('reserve'), numberOfKeys: 1 })
  redis.defineCommand('limiterRest', { lua: source('rest'), numberOfKeys: 1 })
  const commands = redis as unknown as {
    limiterReserve(key: string, interval: number, slack: number, horizon: number): Promise<number>
    limiterRest(key: string, microseconds: number): Promise<number>
  }
  return {
    async reserve(key, perSecond) {
      const intervalMs = (1_000 / perSecond) * (1 + MARGIN)
      const horizonMs = Math.max(HORIZON_MS, 1.5 * intervalMs)
      const inMicroseconds = [intervalMs, slackMs(perSecond), horizonMs].map((ms) => ms * 1_000)
      const wait = await commands.limiterReserve(key, ...(inMicroseconds as [number, number, number]))
      if (wait >= 0) return { reserved: true, waitMs: wait / 1_000 }
      return { reserved: false, waitMs: Math.max(1, (-wait - 1) / 1_000 - horizonMs / 2) }
    },
    async rest(key, milliseconds) {
      await commands.limiterRest(key, Math.round(milliseconds * 1000))
    },
  }
}

/**
 * The limit in a short window for BullMQ: about a tenth of a second, a tenth more than the limit,
 * since the instants are what really paces.
 */
export function fetchWindow(perSecond: number): { max: number; durationMs: number } {
  const max = Math.max(1, Math.round(perSecond / 10))
  return { max, durationMs: Math.max(1, Math.round((max / perSecond) * 1000 * 0.9)) }
}
