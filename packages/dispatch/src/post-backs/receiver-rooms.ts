/**
 * How many post-backs may be under way, to each receiver and in all. A receiver that answers gets more at once, one
 * that does not gets fewer: so one that hangs holds little, whatever lies there for it.
 */

const START = 10
const MOST = 50
/** Slower answers are no reason for more at once. */
const QUICK_MS = 2_000
/** So much of the whole is kept for receivers that have none under way. */
const KEPT = 1 / 4
const FORGOTTEN_AFTER_MS = 60_000

interface Receiver {
  limit: number
  inFlight: number
  /** By `performance.now()`. */
  endedAt: number
}

export class ReceiverRooms {
  readonly #most: number
  readonly #receivers = new Map<string, Receiver>()
  #inFlight = 0

  /** @param most of all receivers together */
  constructor(most: number) {
    this.#most = most
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** What there is room for in all, for each receiver that is known, and for each other one. */
  rooms(): { most: number; room: Map<string, number>; roomForOthers: number } {
    const free = this.#most - this.#inFlight
    const kept = Math.floor(this.#most * KEPT)
    const short = free <= kept
    const now = performance.now()
    const room = new Map<string, number>()
    for (const [name, { limit, inFlight, endedAt }] of this.#receivers) {
      if (inFlight === 0 && now - endedAt > FORGOTTEN_AFTER_MS) this.#receivers.delete(name)
      else room.set(name, Math.max(0, (short ? 1 : limit) - inFlight))
    }
    return { most: short ? free : free - kept, room, roomForOthers: short ? 1 : START }
  }

  began(name: string): void {
    this.#inFlight++
    const receiver = this.#receivers.get(name)
    if (receiver) receiver.inFlight++
    else this.#receivers.set(name, { limit: START, inFlight: 1, endedAt: 0 })
  }

  /** @param well absent: nothing was learned about the receiver */
  ended(name: string, well?: boolean, durationMs = 0): void {
    this.#inFlight--
    const receiver = this.#receivers.get(name)
    if (!receiver) return
    receiver.inFlight--
    receiver.endedAt = performance.now()
    if (well === false) receiver.limit = Math.max(1, Math.floor(receiver.limit / 2))
    else if (well && durationMs < QUICK_MS) receiver.limit = Math.min(MOST, receiver.limit + 1)
  }
}
