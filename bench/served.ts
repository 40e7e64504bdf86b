/** How two campaigns share an account's limit, from what arrived of each. */

export const WINDOW_SECONDS = 30

export interface Served {
  /** Of both together. */
  arrivals: number
  perSecond: number
  /** Seconds in a window: {@link WINDOW_SECONDS}, or less where all of it was shorter. */
  windowSeconds: number
  windows: number
  /** Of all windows, how far the two are from their weights: 0.05 when there is 5 % too much or too little of one. */
  worstDeviation: number
}

interface At {
  atMs: number
}

/**
 * Looks at a window from every second on, beginning when both are served.
 * @param weights of the two
 */
export function servedIn(
  first: readonly At[],
  second: readonly At[],
  weights: readonly [number, number],
): Served {
  const [a, b] = [first, second].map((arrivals) => arrivals.map(({ atMs }) => atMs))
  const from = Math.max(a?.[0] ?? Number.NaN, b?.[0] ?? Number.NaN)
  const end = Math.min(a?.at(-1) ?? Number.NaN, b?.at(-1) ?? Number.NaN)
  if (!(end > from)) throw new Error('the two campaigns were not served side by side')
  const windowMs = Math.min(WINDOW_SECONDS * 1_000, end - from)
  const within = (times: number[], start: number) =>
    times.filter((time) => time >= start && time < start + windowMs).length
  let windows = 0
  let worstDeviation = 0
  for (let start = from; start + windowMs <= end; start += 1_000, windows++) {
    const ratio = within(a!, start) / weights[0] / (within(b!, start) / weights[1])
    worstDeviation = Math.max(worstDeviation, Math.max(ratio, 1 / ratio) - 1)
  }
  const arrivals = [...a!, ...b!].filter((time) => time >= from && time <= end).length
  return {
    arrivals,
    perSecond: arrivals / ((end - from) / 1_000),
    windowSeconds: windowMs / 1_000,
    windows,
    worstDeviation,
  }
}

/** The value below which this share of them lies. @param ascending sorted */
export const share = (ascending: readonly number[], of: number): number =>
  ascending[Math.min(ascending.length - 1, Math.ceil(ascending.length * of) - 1)] ?? Number.NaN
