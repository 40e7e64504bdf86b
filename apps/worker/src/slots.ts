import { setTimeout as sleep } from 'node:timers/promises'

/**
 * The attempts in flight of one process, shared by its lanes. A lane whose provider hangs cannot take them all:
 * each other lane keeps a few of its own.
 */
export class Slots {
  readonly #total: number
  readonly #kept: number
  readonly #used = new Map<string, number>()
  readonly #waiting = new Map<string, ((taken: boolean) => void)[]>()
  #inUse = 0
  #closed = false

  /** @param total attempts in flight at most, at least one a lane */
  constructor(total: number, lanes: string[]) {
    this.#total = Math.max(total, 1)
    this.#kept = lanes.length > 1 ? Math.max(1, Math.floor(total / 20)) : 0
    if (this.#kept * lanes.length > this.#total) this.#kept = 0
    for (const lane of lanes) this.#used.set(lane, 0)
  }

  get inUse(): number {
    return this.#inUse
  }

  /** @returns true when the lane may make one more attempt, to be released after it; false when no more are made */
  async acquire(lane: string): Promise<boolean> {
    if (this.#closed) return false
    if (this.#mayTake(lane)) {
      this.#take(lane)
      return true
    }
    const waiting = this.#waiting.get(lane) ?? []
    this.#waiting.set(lane, waiting)
    return new Promise((resolve) => waiting.push(resolve))
  }

  /** No attempt begins any more; those in flight go on. */
  close(): void {
    this.#closed = true
    for (const waiting of this.#waiting.values()) for (const refuse of waiting.splice(0)) refuse(false)
  }

  /** Resolves when no slot is taken. */
  async idle(): Promise<void> {
    while (this.#inUse > 0) await sleep(20)
  }

  release(lane: string): void {
    this.#inUse--
    this.#used.set(lane, this.#usedBy(lane) - 1)
    this.#serve()
  }

  #usedBy(lane: string): number {
    return this.#used.get(lane) ?? 0
  }

  #mayTake(lane: string): boolean {
    let free = this.#total - this.#inUse
    if (free <= 0) return false
    if (this.#usedBy(lane) < this.#kept) return true
    for (const [other, used] of this.#used) if (other !== lane) free -= Math.max(0, this.#kept - used)
    return free > 0
  }

  #take(lane: string): void {
    this.#inUse++
    this.#used.set(lane, this.#usedBy(lane) + 1)
  }

  /** One lane after the other: whoever uses fewest goes first. */
  #serve(): void {
    const lanes = [...this.#waiting].filter(([lane, waiting]) => waiting.length > 0 && this.#mayTake(lane))
    const [lane, waiting] = lanes.sort(([a], [b]) => this.#usedBy(a) - this.#usedBy(b))[0] ?? []
    const next = waiting?.shift()
    if (lane === undefined || !next) return
    this.#take(lane)
    next(true)
  }
}
