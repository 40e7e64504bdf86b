/** Our clock may run faster or slower than Redis' by so many milliseconds in one. */
const DRIFT = 0.001
/** Redis' clock was set back when it is off by more than this. */
const LEAP_MS = 1_000

/**
 * Tells how old an answer of Redis is, also where this process was held up before it read it: the quickest of the
 * latest answers shows how far the two clocks are apart.
 */
export class RedisClock {
  /** Our time less Redis'. */
  #apartMs = Infinity
  #seenAt = 0

  /**
   * @param toldAtMs when Redis gave the answer, by its clock
   * @param readAt now, by `performance.now()`
   * @returns milliseconds, not counting what the quickest answers take
   */
  ageOf(toldAtMs: number, readAt: number): number {
    const apartMs = readAt - toldAtMs
    const drifted = this.#apartMs + DRIFT * (readAt - this.#seenAt)
    this.#apartMs = apartMs - drifted > LEAP_MS ? apartMs : Math.min(apartMs, drifted)
    this.#seenAt = readAt
    return apartMs - this.#apartMs
  }
}
