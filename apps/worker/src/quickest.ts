/** Over so long, at least, the quickest is remembered. */
const WINDOW_MS = 10_000

/**
 * Tells how much longer something took than the quickest of the latest: what the way to Redis takes each time holds
 * nothing up.
 */
export class Quickest {
  #before = Infinity
  #now = Infinity
  #since = 0

  /**
   * @param ms how long it took this time
   * @param at when, by `performance.now()`
   * @returns milliseconds beyond the quickest
   */
  beyond(ms: number, at: number): number {
    if (at - this.#since >= WINDOW_MS && this.#now < Infinity) {
      this.#before = this.#now
      this.#now = Infinity
      this.#since = at
    }
    this.#now = Math.min(this.#now, ms)
    return ms - Math.min(this.#now, this.#before)
  }
}
