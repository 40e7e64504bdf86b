/**
 * `Idempotency-Key`: the ids are reserved under the key before anything is accepted, so that a repeat, also one that
 * runs at the same time or after a crash in the middle, goes on with the same ids, and accepting an id twice is
 * harmless.
 */
import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { idempotencyKey } from './ledger/index.ts'

/** How long a key is remembered, unless messages are forgotten earlier: an id must not be taken for a new one. */
const KEEP_SECONDS = 86_400

interface Reservation {
  /** Of the request's body and route. */
  fingerprint: string
  ids: string[]
  /** The answer, once it was given. */
  answer?: unknown
}

export type Reserved =
  | { kind: 'new'; ids: string[] }
  /** Seen before: go on with these ids, or give this answer again. */
  | { kind: 'repeat'; ids: string[]; answer?: unknown }
  /** The key was used for another body. */
  | { kind: 'conflict' }

export const fingerprintOf = (route: string, body: unknown): string =>
  createHash('sha256')
    .update(`${route}\n${JSON.stringify(body)}`)
    .digest('base64url')

export class Idempotency {
  readonly #redis: Redis
  readonly #keepSeconds: number
  constructor(redis: Redis, retentionDays: number) {
    this.#redis = redis
    this.#keepSeconds = Math.max(1, Math.floor(Math.min(KEEP_SECONDS, retentionDays * 86_400)))
  }

  /**
   * @param owner whose keys they are: the name of the API key
   * @param ids message ids to use when the key is new
   */
  async reserve(owner: string, key: string, fingerprint: string, ids: string[]): Promise<Reserved> {
    const name = idempotencyKey(owner, key)
    const reservation: Reservation = { fingerprint, ids }
    const taken = await this.#redis.set(name, JSON.stringify(reservation), 'EX', this.#keepSeconds, 'NX')
    if (taken === 'OK') return { kind: 'new', ids }
    const earlier = await this.find(owner, key, fingerprint)
    return earlier ?? this.reserve(owner, key, fingerprint, ids) // it ran out between the two
  }

  /** @returns what is reserved under the key already; undefined when it is new */
  async find(owner: string, key: string, fingerprint: string): Promise<Reserved | undefined> {
    const text = await this.#redis.get(idempotencyKey(owner, key))
    if (text === null) return undefined
    const earlier = JSON.parse(text) as Reservation
    if (earlier.fingerprint !== fingerprint) return { kind: 'conflict' }
    return { kind: 'repeat', ids: earlier.ids, ...('answer' in earlier && { answer: earlier.answer }) }
  }

  /** Keeps the answer for repeats. */
  async complete(
    owner: string,
    key: string,
    fingerprint: string,
    ids: string[],
    answer: unknown,
  ): Promise<void> {
    const reservation: Reservation = { fingerprint, ids, answer }
    await this.#redis.set(idempotencyKey(owner, key), JSON.stringify(reservation), 'EX', this.#keepSeconds)
  }
}
