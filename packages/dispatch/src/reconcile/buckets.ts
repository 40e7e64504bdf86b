/** The ledger's buckets in the order of their numbers: sixteen messages with consecutive places in each. */
import type { Redis } from 'ioredis'
import { createMessageId, type Ledger, SLOTS } from '../ledger/index.ts'
import { decodeRecord } from '../ledger/record.ts'
import type { ReadMessage } from './mend.ts'

const nameOf = (bucket: number) => bucket.toString(16).padStart(9, '0')

export class Buckets {
  readonly #redis: Redis
  readonly #ledger: Ledger
  readonly #account: string

  constructor(redis: Redis, ledger: Ledger, account: string) {
    this.#redis = redis
    this.#ledger = ledger
    this.#account = account
  }

  #key(bucket: number): string {
    return this.#ledger.keysOf(this.#account).bucket(nameOf(bucket))
  }

  /** @returns the number behind the newest bucket */
  async end(): Promise<number> {
    const next = await this.#redis.get(this.#ledger.keysOf(this.#account).sequence)
    return Math.ceil(Number(next ?? 0) / SLOTS)
  }

  /** @returns how many of these exist; one command */
  existing(from: number, to: number): Promise<number> {
    return this.#redis.exists(...Array.from({ length: to - from }, (_, index) => this.#key(from + index)))
  }

  /** @returns for each the messages in it, empty where it does not exist (any more) */
  read(from: number, to: number): Promise<ReadMessage[][]> {
    return Promise.all(Array.from({ length: to - from }, (_, index) => this.#readOne(from + index)))
  }

  async #readOne(bucket: number): Promise<ReadMessage[]> {
    const fields = new Map(Object.entries(await this.#redis.hgetallBuffer(this.#key(bucket))))
    if (fields.size === 0) return []
    const account = this.#ledger.numberOf(this.#account)
    return Array.from({ length: SLOTS }, (_, slot) => {
      const record = decodeRecord(fields, slot.toString(16))
      return record ? { id: createMessageId(account, bucket * SLOTS + slot, record.salt), record } : []
    }).flat()
  }
}
