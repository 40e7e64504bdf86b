/** What one worker at a time does: who holds the lease does it, and another one once it is not heard of any more. */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'

export class Lease {
  readonly #redis: Redis
  readonly #key: string
  readonly #lastsMs: number
  readonly #token = randomBytes(9).toString('base64url')

  /** @param lastsMs after the last time that its holder asked */
  constructor(redis: Redis, key: string, lastsMs: number) {
    this.#redis = redis
    this.#key = key
    this.#lastsMs = lastsMs
  }

  /**
   * Takes the lease or keeps it. It may be lost right after the answer: what is done under it must be harmless when two
   * do it at a time.
   * @returns whether it is ours
   */
  async hold(): Promise<boolean> {
    if ((await this.#redis.set(this.#key, this.#token, 'PX', this.#lastsMs, 'NX')) === 'OK') return true
    if ((await this.#redis.get(this.#key)) !== this.#token) return false
    return (await this.#redis.pexpire(this.#key, this.#lastsMs)) === 1
  }

  /** Gives it back, so that nobody has to wait. */
  async release(): Promise<void> {
    if ((await this.#redis.get(this.#key)) === this.#token) await this.#redis.del(this.#key)
  }
}
