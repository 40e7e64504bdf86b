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
/**
 * How much of a hiccup may be made up for. With 20 ms, at most 2 % more than the limit passes in a second.
 */
const SLACK_MS = 20

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
      const wait = await commands.limiterReserve(
        key,
        1_000_000 / perSecond,
        SLACK_MS * 1000,
        HORIZON_MS * 1000,
      )
      return wait >= 0
        ? { reserved: true, waitMs: wait / 1000 }
        : { reserved: false, waitMs: (-wait - 1) / 1000 }
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
