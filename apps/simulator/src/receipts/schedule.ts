/** Hands things over when they are due: one timer for however many, to within a few milliseconds. */

const tickMs = 4

export class Schedule<Thing> {
  readonly #due: (things: Thing[]) => void
  readonly #slots = new Map<number, Thing[]>()
  #timer: NodeJS.Timeout | undefined
  #nextTick = 0
  #size = 0

  constructor(due: (things: Thing[]) => void) {
    this.#due = due
  }

  /** How many wait. */
  get size(): number {
    return this.#size
  }

  /** @param atMs by `performance.now()` */
  add(atMs: number, thing: Thing): void {
    if (this.#timer === undefined) {
      this.#nextTick = Math.floor(performance.now() / tickMs)
      this.#timer = setInterval(() => this.#turn(), tickMs)
    }
    const tick = Math.max(this.#nextTick, Math.ceil(atMs / tickMs))
    const slot = this.#slots.get(tick)
    if (slot === undefined) this.#slots.set(tick, [thing])
    else slot.push(thing)
    this.#size += 1
  }

  clear(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#slots.clear()
    this.#size = 0
  }

  #turn(): void {
    const now = Math.floor(performance.now() / tickMs)
    const due: Thing[] = []
    for (; this.#nextTick <= now; this.#nextTick++) {
      const slot = this.#slots.get(this.#nextTick)
      if (slot === undefined) continue
      this.#slots.delete(this.#nextTick)
      for (const thing of slot) due.push(thing)
    }
    this.#size -= due.length
    if (this.#size === 0) this.clear()
    if (due.length > 0) this.#due(due)
  }
}
