/**
 * What a provider is to be asked: messages of which nothing was heard, by the time at which it is asked about them.
 * A message stays on the list until something is heard of it or it is no longer kept, so that the next run does not ask
 * anew; each time that there is no news it is left alone for as long as it is old, so that it is asked about a few
 * times only.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { type Ledger, type MessageId, parseMessageId } from '../ledger/index.ts'

/** On one account's list; about 100 bytes each. What finds no room is found again by the next run. */
export const MOST_QUESTIONS = 100_000
/** However young a message is. */
const LEAST_AGAIN_MS = 600_000

export class Questions {
  readonly #redis: Redis
  readonly #ledger: Pick<Ledger, 'keysOf'>

  constructor(redis: Redis, ledger: Pick<Ledger, 'keysOf'>) {
    this.#redis = redis
    this.#ledger = ledger
    const lua = readFileSync(new URL('scripts/take-question.lua', import.meta.url), 'utf8')
    redis.defineCommand('reconcile-take-question', { lua, numberOfKeys: 1 })
  }

  #key(account: string): string {
    return this.#ledger.keysOf(account).questions
  }

  count(account: string): Promise<number> {
    return this.#redis.zcard(this.#key(account))
  }

  /**
   * Puts messages on the list, to be asked about at once; those that are there already keep their time.
   * @returns how many of them are on it
   */
  async put(account: string, ids: MessageId[], now: number): Promise<number> {
    if (ids.length === 0) return 0
    const room = MOST_QUESTIONS - (await this.count(account))
    const fitting = ids.slice(0, Math.max(0, room))
    if (fitting.length === 0) return 0
    await this.#redis.zadd(
      this.#key(account),
      'NX',
      ...fitting.flatMap(({ text }) => [String(now), text.slice(4)]),
    )
    return fitting.length
  }

  /** @returns the message to ask about now; it comes back after `leaseMs` unless it is put off or dropped */
  async take(account: string, now: number, leaseMs: number): Promise<MessageId | undefined> {
    const commands = this.#redis as unknown as Record<string, (...args: unknown[]) => Promise<string | null>>
    const id = await commands['reconcile-take-question']!(this.#key(account), now, leaseMs)
    return id === null ? undefined : parseMessageId(`msg_${id}`)
  }

  /** Whoever asks when it is time has the only one within so many ms, of all workers. */
  async isTime(account: string, everyMs: number): Promise<boolean> {
    return (
      (await this.#redis.set(this.#ledger.keysOf(account).questionTurn, '1', 'PX', everyMs, 'NX')) === 'OK'
    )
  }

  /** Asks again at that time, in milliseconds since 1970. */
  async putOff(account: string, id: MessageId, until: number): Promise<void> {
    await this.#redis.zadd(this.#key(account), 'XX', String(Math.round(until)), id.text.slice(4))
  }

  /** There is nothing to ask any more. */
  async drop(account: string, id: MessageId): Promise<void> {
    await this.#redis.zrem(this.#key(account), id.text.slice(4))
  }
}

/** When to ask again about what there is no news of: at 1, 2, 4, 8 … times its age. @returns milliseconds since 1970 */
export const askedAgainAt = (now: number, submittedAt: number): number =>
  now + Math.max(now - submittedAt, LEAST_AGAIN_MS)
