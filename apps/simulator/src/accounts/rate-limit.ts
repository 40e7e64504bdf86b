/** A true rate limit: what it lets through never exceeds the limit in any second, wherever that second begins. */
import { z } from 'zod'
import { retryAfterSchema } from '../faults/retry-after.ts'

export const rateLimitSchema = z.strictObject({
  perSecond: z.number().int().min(1).max(100_000),
  /** `sliding`: never more than `perSecond` in any second. `token`: a bucket of `burst` that refills evenly. */
  window: z.enum(['sliding', 'token']).default('sliding'),
  /** For `token`; without it, one second's worth. */
  burst: z.number().int().min(1).max(100_000).optional(),
  /** Sent with the 429, where given. */
  retryAfter: retryAfterSchema.optional(),
})

export type RateLimit = z.infer<typeof rateLimitSchema>

/** Whether a request that arrived at this time (milliseconds) is let through; refused ones do not count. */
export type Gate = (atMs: number) => boolean

export function rateGate(limit: RateLimit): Gate {
  return limit.window === 'sliding'
    ? slidingWindow(limit.perSecond)
    : tokenBucket(limit.perSecond, limit.burst ?? limit.perSecond)
}

function slidingWindow(perSecond: number): Gate {
  const admitted = new Float64Array(perSecond).fill(-Infinity)
  let next = 0
  return (atMs) => {
    if (atMs - admitted[next]! < 1000) return false
    admitted[next] = atMs
    next = (next + 1) % perSecond
    return true
  }
}

function tokenBucket(perSecond: number, burst: number): Gate {
  let tokens = burst
  let lastMs = -Infinity
  return (atMs) => {
    if (atMs > lastMs) {
      tokens = lastMs === -Infinity ? burst : Math.min(burst, tokens + ((atMs - lastMs) / 1000) * perSecond)
      lastMs = atMs
    }
    if (tokens < 1) return false
    tokens -= 1
    return true
  }
}
