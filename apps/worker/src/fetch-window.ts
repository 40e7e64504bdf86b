/**
 * Keeps a lane's fetch window as wide as its workers need it. What they fetch and may send is what the limiter allows
 * now; what only waits for its turn with its recipient has to be fetched on top of it, or it would hold up the others.
 */
import { type Account, type Lane, type Limiter, prepareLane } from '@wa-dispatch/dispatch'

/** The window is never wider than this, as a multiple of what is allowed: to fetch for nothing costs, too. */
const WIDEST = 10
/** It narrows by so much a second at most, since a second without waiters says little about the next. */
const NARROWING = 0.7

export class FetchWindow {
  #sent = 0
  #setAside = 0
  #wideness = 1

  sent(): void {
    this.#sent++
  }

  /** A job was fetched and went to wait for its turn with its recipient. */
  setAside(): void {
    this.#setAside++
  }

  /** To be called once a second. */
  async tend(lane: Lane, account: Account, limiter: Limiter): Promise<void> {
    const [sent, setAside] = [this.#sent, this.#setAside]
    if (sent + setAside === 0) return
    this.#sent = this.#setAside = 0
    const needed = Math.min((sent + setAside) / Math.max(sent, 1), WIDEST)
    this.#wideness = Math.max(needed, this.#wideness * NARROWING, 1)
    await prepareLane(lane, account, limiter, this.#wideness)
  }
}
