/** When a post-back that failed is tried again. */

const SECOND_MS = 1_000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS

/** Counted from the first try; after it a post-back is dead. */
export const POST_BACK_DAY_MS = 24 * HOUR_MS

/** Before the second, third, … try: most receivers are back soon, the others get a day. */
export const POST_BACK_DELAYS_MS = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  2 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
  2 * HOUR_MS,
  4 * HOUR_MS,
  6 * HOUR_MS,
  10 * HOUR_MS,
] as const

/** What failed together does not come back together. */
const JITTER = 0.2

export interface FailedTry {
  /** Tries before this one. */
  tries: number
  sinceFirstTryMs: number
  /** What the receiver asked for. */
  retryAfterMs?: number | undefined
}

/** @param random from 0 to below 1 @returns when the next try is due, at the latest at the end of the day */
export function nextTry(
  { tries, sinceFirstTryMs, retryAfterMs = 0 }: FailedTry,
  random: number,
): { inMs: number } | 'dead' {
  const leftMs = POST_BACK_DAY_MS - sinceFirstTryMs
  const delayMs = POST_BACK_DELAYS_MS[tries]
  if (delayMs === undefined || leftMs <= 0) return 'dead'
  const jitteredMs = delayMs * (1 + JITTER * (random - 0.5))
  return { inMs: Math.round(Math.min(Math.max(jitteredMs, retryAfterMs), leftMs)) }
}
