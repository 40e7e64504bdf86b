/**
 * Receipts between their arrival and their being applied: a Redis stream per account, which all workers read together
 * as one consumer group. What was put is handed out at least once: an entry is kept until somebody is done with it, and
 * those of a worker that died are taken over by another. Applying a receipt twice changes nothing, so that is enough.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { Ledger } from '../ledger/index.ts'
import { accountTag } from '../ledger/keys.ts'

/** Bodies that arrived together. */
export interface ReceiptEntry {
  /** Its place in the stream. */
  id: string
  /** Milliseconds since 1970, by Redis' clock. */
  arrivedAt: number
  /** What the provider posted, as it was posted. */
  bodies: string[]
}

const GROUP = 'w'
/** The field of an entry that holds a body; there may be several. */
const BODY = 'b'

/** What one entry holds at most; a longer body is alone in its own. */
const MOST_BODIES = 32
const MOST_CHARACTERS = 32_768
/** Entries that are handed out at once: as many as make up so many characters if they are like the last ones. */
const ENTRIES = { first: 20, least: 10, most: 100 }
const CHARACTERS_AT_ONCE = 1_048_576

type Fields = [id: string, fields: string[]]

/** Bodies that leave together. */
interface Lot {
  bodies: string[]
  characters: number
  stored: Promise<void>
}

export class ReceiptQueue {
  readonly #redis: Redis
  readonly #ledger: Pick<Ledger, 'numberOf'>
  /** By the account's key; each is open until the turn of the event loop is over, or it is full. */
  readonly #lots = new Map<string, Lot>()
  /** By the account's key: what {@link ENTRIES} tells. */
  readonly #atOnce = new Map<string, number>()

  constructor(redis: Redis, ledger: Pick<Ledger, 'numberOf'>) {
    this.#redis = redis
    this.#ledger = ledger
    const lua = readFileSync(new URL('scripts/remove-consumers.lua', import.meta.url), 'utf8')
    redis.defineCommand('receipts-remove-consumers', { lua, numberOfKeys: 1 })
  }

  #key(account: string): string {
    return `${accountTag(this.#ledger.numberOf(account))}:i`
  }

  /**
   * Keeps a body. Those that come in the same turn of the event loop share a command: it costs more than what it does.
   * @returns once it is kept @throws what ioredis throws; then it may be kept or not
   */
  put(account: string, body: string): Promise<void> {
    const key = this.#key(account)
    const open = this.#lots.get(key)
    if (open && open.bodies.length < MOST_BODIES && open.characters + body.length <= MOST_CHARACTERS) {
      open.bodies.push(body)
      open.characters += body.length
      return open.stored
    }
    const bodies = [body]
    const lot: Lot = { bodies, characters: body.length, stored: this.#store(key, bodies) }
    this.#lots.set(key, lot)
    return lot.stored
  }

  async #store(key: string, bodies: string[]): Promise<void> {
    await new Promise(setImmediate)
    // A fuller one may have come after it.
    if (this.#lots.get(key)?.bodies === bodies) this.#lots.delete(key)
    await this.#redis.xadd(key, '*', ...bodies.flatMap((body) => [BODY, body]))
  }

  /**
   * Hands out the oldest entries that nobody has, in the order they arrived; a few of them at a time.
   * @param consumer who asks: one name for each process
   */
  async take(account: string, consumer: string): Promise<ReceiptEntry[]> {
    const key = this.#key(account)
    const count = this.#atOnce.get(key) ?? ENTRIES.first
    const read = () => this.#redis.xreadgroup('GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', key, '>')
    const streams = (await this.#withGroup(key, read)) as
      | [key: string, entries: Fields[]][]
      | null
      | undefined
    const entries = entriesOf(streams?.[0]?.[1] ?? [])
    if (entries.length > 0) this.#atOnce.set(key, howMany(entries))
    return entries
  }

  /** Hands out entries with which others, or this consumer itself, did not get done in time. */
  async takeOver(account: string, consumer: string, afterMs: number): Promise<ReceiptEntry[]> {
    const key = this.#key(account)
    let cursor = '0-0'
    do {
      const from = cursor
      const claim = () =>
        this.#redis.xautoclaim(key, GROUP, consumer, afterMs, from, 'COUNT', ENTRIES.first) as Promise<
          [string, (Fields | null)[]]
        >
      const claimed = await this.#withGroup(key, claim)
      if (!claimed) return []
      const entries = entriesOf(claimed[1])
      if (entries.length > 0) return entries
      cursor = claimed[0]
    } while (cursor !== '0-0')
    return []
  }

  /** Lets go of entries for good. */
  async done(account: string, entries: readonly ReceiptEntry[]): Promise<void> {
    if (entries.length === 0) return
    const key = this.#key(account)
    const ids = entries.map(({ id }) => id)
    // Both or none: one that nobody has and that is still there would stay for ever.
    const results = await this.#redis
      .multi()
      .xack(key, GROUP, ...ids)
      .xdel(key, ...ids)
      .exec()
    for (const [error] of results ?? []) if (error) throw error
  }

  /** Forgets consumers that have nothing in hand and were not heard of for so long. @returns how many they were */
  removeConsumers(account: string, silentMs: number): Promise<number> {
    return this.#removeConsumers(account, silentMs, '')
  }

  /** Forgets this consumer, if it has nothing in hand. */
  async leave(account: string, consumer: string): Promise<void> {
    await this.#removeConsumers(account, 0, consumer)
  }

  #removeConsumers(account: string, silentMs: number, only: string): Promise<number> {
    const commands = this.#redis as unknown as Record<string, (...args: unknown[]) => Promise<number>>
    return commands['receipts-remove-consumers']!(this.#key(account), GROUP, silentMs, only)
  }

  /** @returns entries that nobody is done with yet, those in hand included */
  depth(account: string): Promise<number> {
    return this.#redis.xlen(this.#key(account))
  }

  /** The group is gone with the stream when Redis loses its data. @returns undefined when it was made just now */
  async #withGroup<Result>(key: string, ask: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await ask()
    } catch (error) {
      if (!(error as Error).message.startsWith('NOGROUP')) throw error
    }
    try {
      await this.#redis.xgroup('CREATE', key, GROUP, '0', 'MKSTREAM')
    } catch (error) {
      if (!(error as Error).message.startsWith('BUSYGROUP')) throw error
    }
    return undefined
  }
}

function howMany(entries: ReceiptEntry[]): number {
  const characters = entries.reduce(
    (sum, { bodies }) => sum + bodies.reduce((all, body) => all + body.length, 0),
    0,
  )
  const fitting = Math.floor((CHARACTERS_AT_ONCE * entries.length) / Math.max(1, characters))
  return Math.min(ENTRIES.most, Math.max(ENTRIES.least, fitting))
}

/** An entry that was deleted while somebody had it is null in Redis before 7. */
function entriesOf(found: (Fields | null)[]): ReceiptEntry[] {
  return found.flatMap((entry) => {
    if (!entry) return []
    const [id, fields] = entry
    return [
      {
        id,
        arrivedAt: Number(id.slice(0, id.indexOf('-'))),
        bodies: (fields ?? []).filter((_, at) => at % 2 === 1),
      },
    ]
  })
}
