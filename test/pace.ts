/** How fast requests came, by the simulator's clock. */

interface Arrival {
  /** Milliseconds since 1970. */
  atMs: number
}

/** The most arrivals in any second, wherever it begins. */
export function fastestSecond(arrivals: Arrival[]): number {
  const times = timesOf(arrivals)
  let most = 0
  for (let from = 0, to = 0; to < times.length; to++) {
    while (times[to]! - times[from]! >= 1_000) from++
    most = Math.max(most, to - from + 1)
  }
  return most
}

/** Messages per second from the first to the last. */
export function rateOf(arrivals: Arrival[]): number {
  const times = timesOf(arrivals)
  return ((times.length - 1) * 1_000) / (times.at(-1)! - times[0]!)
}

/** Messages per second by the middle one of the distances: of bursts it is far above their rate. */
export function paceOf(arrivals: Arrival[]): number {
  const times = timesOf(arrivals)
  const distances = times.slice(1).map((atMs, index) => atMs - times[index]!)
  return 1_000 / distances.sort((a, b) => a - b)[Math.floor(distances.length / 2)]!
}

/** What came from then on, for so long; milliseconds since 1970. */
export const between = <Each extends Arrival>(
  arrivals: Each[],
  fromMs: number,
  lengthMs = Infinity,
): Each[] => arrivals.filter(({ atMs }) => atMs >= fromMs && atMs < fromMs + lengthMs)

const timesOf = (arrivals: Arrival[]) => arrivals.map(({ atMs }) => atMs).sort((a, b) => a - b)
