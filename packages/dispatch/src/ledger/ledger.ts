/**
 * The ledger: the durable record of every message and attempt, and the only authority on whether
 * something may be sent. Each step is one atomic script (scripts/*.lua); the key layout is in keys.ts,
 * the layout of a record in record.ts.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { pack } from 'msgpackr'
import { createMessageId, type MessageId, parseMessageId, placeOf, SLOTS } from './ids.ts'
import { type AccountKeys, accountKeys, accountsKey } from './keys.ts'
import {
  decodeRecord,
  type MessageError,
  type MessageRecord,
  type MessageState,
  type OutcomeName,
  outcomeNumber,
  stateName,
  stateNumber,
} from './record.ts'

/** What is written when a message is accepted. */
export interface NewMessage {
  id: MessageId
  /** E.164 digits without `+`. */
  to: string
  /** The message object as JSON text. */
  content: string
  idempotent: boolean
  reference?: string | undefined
  /** Milliseconds since 1970. */
  sendAt?: number | undefined
  expiresAt?: number | undefined
}

/** What became of a message that was to be stored. */
export interface Accepted {
  /** Undefined where its id names another message's place: it is not stored. */
  state: MessageState | undefined
  /** Milliseconds since 1970. */
  due: number
}

/** The id that was made for a message names a place that another one holds, after Redis lost data: ask again. */
export class SlotTakenError extends Error {
  readonly statusCode = 503
  constructor() {
    super('the place of this message is taken; it was not stored')
    this.name = 'SlotTakenError'
  }
}

/** A claim: the right to make one attempt. */
export interface Claim {
  kind: 'claimed'
  attempt: number
  /** Attempts that counted so far; throttled ones do not. */
  tries: number
  to: string
  content: string
  /** Since it was due. */
  waitedMs: number
}

/** Somebody else's claim, alive or not. */
export interface Held {
  kind: 'held'
  /** In how many milliseconds it is given up for lost; not above 0 when it is. */
  inMs: number
  attempt: number
  tries: number
  idempotent: boolean
}

export type ClaimResult =
  | Claim
  | Held
  /** It is due in so many milliseconds. */
  | { kind: 'early'; inMs: number }
  | { kind: 'expired' }
  | { kind: 'stale'; state: MessageState | undefined }

/** What became of an attempt and what follows from it. */
export interface Settlement {
  attempt: number
  outcome: OutcomeName
  code: string
  durationMs: number
  state: MessageState
  /** In how many milliseconds a waiting message is due, or an uncertain one is decided. */
  inMs?: number | undefined
  /** Whether the attempt counts against the retries. */
  counts: boolean
  /** A 2xx came that could not be read. */
  answered?: boolean | undefined
  requestId?: string | undefined
  error?: MessageError | undefined
}

export interface LedgerOptions {
  redis: Redis
  retentionDays: number
  /** Milliseconds since 1970; absent: Redis' own clock, the one clock that all processes share. */
  clock?: () => number
}

const scriptNames = ['accept', 'requeue', 'end-waiting', 'resolve'] as const
/** Scripts that run for all messages of an account that ask in the same turn of the event loop: once each, in one call. */
const gathered = {
  // Those who ask have mostly been waiting for the same answer of Redis: they are here before the next tick.
  claim: { keys: 2, args: 4, wait: process.nextTick },
  // Answers of a provider come one by one; those that are here already are handled before the immediates.
  settle: { keys: 3, args: 12, wait: setImmediate },
} as const
type GatheredName = keyof typeof gathered
type ScriptName = (typeof scriptNames)[number]
type Reply = (string | number)[]

/** A name of its own: ioredis' pipelines have methods too, and `resolve` is one of them. */
const commandOf = (name: ScriptName | GatheredName) => `ledger-${name}` as const

/** One call of a gathered script. */
interface Gathered {
  id: MessageId
  args: (string | number | Buffer)[]
  moreKeys: string[]
  resolve: (reply: Reply) => void
  reject: (error: unknown) => void
}

/** How many messages one gathered script is about: about two milliseconds of Redis' time. */
const MOST_TOGETHER = 50

/**
 * A script about one message, for many: it finds its keys and arguments where it would find them alone.
 * @param keys of one message, behind the shared ones
 * @param args of one message, from its id on
 */
const forEach = (script: string, keys: number, args: number) => `
local function one(KEYS, ARGV)
${script}
end
local replies = {}
for index = 0, (#ARGV - 2) / ${args} - 1 do
  local its_keys, its_args = { KEYS[1], KEYS[2], KEYS[3], KEYS[4] }, { ARGV[1], ARGV[2] }
  for key = 1, ${keys} do its_keys[4 + key] = KEYS[4 + index * ${keys} + key] end
  for arg = 1, ${args} do its_args[2 + arg] = ARGV[2 + index * ${args} + arg] end
  take(its_keys[5], its_keys[6], its_args[3])
  replies[index + 1] = one(its_keys, its_args)
end
return replies`

/** Ids in one block. */
const IDS_AHEAD = 1_024

const source = (name: string) => readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8')

export class Ledger {
  readonly #redis: Redis
  readonly #retentionSeconds: number
  readonly #clock: (() => number) | undefined
  readonly #numbers = new Map<string, number>()
  readonly #names = new Map<number, string>()
  readonly #free = new Map<string, { next: number; end: number }>()
  readonly #allocating = new Map<string, Promise<void>>()
  readonly #gathering = new Map<string, Gathered[]>()

  constructor(options: LedgerOptions) {
    this.#redis = options.redis
    this.#retentionSeconds = Math.round(options.retentionDays * 86_400)
    this.#clock = options.clock
    const record = source('record')
    for (const name of scriptNames)
      this.#redis.defineCommand(commandOf(name), { lua: `${record}\n${source(name)}` })
    for (const [name, { keys, args }] of Object.entries(gathered)) {
      const lua = `${record}\n${forEach(source(name), keys, args)}`
      this.#redis.defineCommand(commandOf(name as GatheredName), { lua })
    }
    this.#redis.defineCommand('register', { lua: source('register'), numberOfKeys: 1 })
  }

  /**
   * Learns the accounts' numbers, which are part of each message id. To be called before the rest, and again whenever
   * Redis comes back: one that lost its data gets the numbers back, and no id of before is given away again.
   * @returns whether every account has the number it had
   */
  async open(accountIds: string[]): Promise<boolean> {
    this.#free.clear()
    if (accountIds.length === 0) return true
    const command = this.#redis as unknown as { register(...args: (string | number)[]): Promise<number[]> }
    const known = accountIds.flatMap((id) => [id, this.#numbers.get(id) ?? 0])
    const numbers = await command.register(accountsKey, ...known)
    let same = true
    accountIds.forEach((id, index) => {
      const before = this.#numbers.get(id)
      if (before !== undefined && before !== numbers[index]) {
        same = false
        if (this.#names.get(before) === id) this.#names.delete(before)
      }
      this.#numbers.set(id, numbers[index]!)
    })
    for (const [id, number] of this.#numbers) this.#names.set(number, id)
    return same
  }

  /** @throws when the account was not opened */
  numberOf(account: string): number {
    const number = this.#numbers.get(account)
    if (number === undefined) throw new Error(`account ${account} is not open in this ledger`)
    return number
  }

  /** @returns the account a message id belongs to, undefined when it is none of the open ones */
  accountOf(id: MessageId): string | undefined {
    return this.#names.get(id.account)
  }

  keysOf(account: string): AccountKeys {
    return accountKeys(this.numberOf(account))
  }

  /**
   * New ids for an account, from blocks that are fetched ahead, so that hardly any call waits for Redis. What a process
   * did not use of its block stays empty and costs nothing.
   */
  async createIds(account: string, count: number): Promise<MessageId[]> {
    const ids: MessageId[] = []
    while (ids.length < count) {
      const id = this.nextId(account)
      if (id) ids.push(id)
      else await this.#allocate(account, count - ids.length)
    }
    return ids
  }

  /** @returns one new id at once; undefined when the block is used up: {@link createIds} fetches another */
  nextId(account: string): MessageId | undefined {
    const number = this.numberOf(account)
    const free = this.#free.get(account)
    return free && free.next < free.end ? createMessageId(number, free.next++) : undefined
  }

  async #allocate(account: string, count: number): Promise<void> {
    const running = this.#allocating.get(account)
    if (running) return running
    const size = Math.ceil(Math.max(count, IDS_AHEAD) / SLOTS) * SLOTS
    const allocation = this.#redis
      .incrby(this.keysOf(account).sequence, size)
      .then((end) => void this.#free.set(account, { next: end - size, end }))
      .finally(() => this.#allocating.delete(account))
    this.#allocating.set(account, allocation)
    return allocation
  }

  /**
   * Stores messages of one account, all in one go. A repeat with the same id changes nothing.
   * @returns for each, in order, the state it has by now and when it is due; milliseconds since 1970
   */
  async accept(account: string, messages: NewMessage[]): Promise<Accepted[]> {
    const keys = this.keysOf(account)
    const places: string[] = []
    const references: string[] = []
    const args: (string | number)[] = [this.#now(), this.#retentionSeconds]
    for (const { id, to, sendAt, expiresAt, idempotent, content, reference } of messages) {
      places.push(keys.bucket(placeOf(id).bucket), keys.content(id.text))
      if (reference !== undefined) references.push(keys.reference(reference))
      args.push(
        id.text.slice(4),
        to,
        sendAt ?? 0,
        expiresAt ?? 0,
        idempotent ? 1 : 0,
        content,
        reference ?? '',
      )
    }
    const results = await this.#call('accept', [...sharedKeys(keys), ...places, ...references], args)
    const accepted = messages.map((_, index): Accepted => {
      const state = Number(results[2 * index])
      return { state: state < 0 ? undefined : stateName(state), due: Number(results[2 * index + 1]) }
    })
    // Somebody else was given the same block by a Redis that had lost its last moments.
    if (accepted.some(({ state }) => state === undefined)) this.#free.delete(account)
    return accepted
  }

  /**
   * Asks for the right to make one attempt; durable before it is given.
   * @param generation the job's; an older job than the message's newest is stale
   * @param holdMs how long the claim is believed in; longer than the attempt can take
   * @param token names the asker: when the answer was lost with a connection, asking again gives the same claim
   */
  async claim(id: MessageId, generation: number, holdMs: number, token: string): Promise<ClaimResult> {
    const [kind, ...rest] = await this.#gather('claim', id, [generation, holdMs, token])
    switch (kind) {
      case 'claimed': {
        const [attempt, tries, content, to, waitedMs] = rest
        return {
          kind,
          attempt: Number(attempt),
          tries: Number(tries),
          content: String(content),
          to: String(to),
          waitedMs: Number(waitedMs),
        }
      }
      case 'held': {
        const [inMs, attempt, tries, flags] = rest.map(Number) as [number, number, number, number]
        return { kind, inMs, attempt, tries, idempotent: (flags & 1) === 1 }
      }
      case 'early':
        return { kind, inMs: Number(rest[0]) }
      case 'expired':
        return { kind }
      default:
        return { kind: 'stale', state: rest[0] ? stateName(Number(rest[0])) : undefined }
    }
  }

  /** @returns the claim that an attempt holds at the moment, undefined when none is under way */
  async currentClaim(id: MessageId): Promise<Held | undefined> {
    const result = await this.claim(id, -1, 0, '')
    return result.kind === 'held' ? result : undefined
  }

  /**
   * Writes what became of an attempt. Safe to repeat, and right also when the claim was given up for lost
   * or lost with Redis' last moments.
   * A wait that would end after `expires_at` ends the message instead.
   * @returns whether it was written, and the state the message has now
   */
  async settle(
    id: MessageId,
    settlement: Settlement,
  ): Promise<{ settled: boolean; state: MessageState | undefined }> {
    const { requestId } = settlement
    const [result, state] = await this.#gather(
      'settle',
      id,
      [
        settlement.attempt,
        outcomeNumber(settlement.outcome),
        Math.round(settlement.durationMs),
        settlement.code.slice(0, 40),
        stateNumber(settlement.state),
        Math.round(settlement.inMs ?? 0),
        settlement.counts ? 1 : 0,
        settlement.answered ? 2 : 0,
        requestId ?? '',
        settlement.error ? packError(settlement.error) : '',
        id.sequence,
      ],
      requestId === undefined ? [] : [accountKeys(id.account).requestId(requestId)],
    )
    return { settled: result === 'settled', state: state ? stateName(Number(state)) : undefined }
  }

  /** Makes a new generation for a waiting message whose job is gone. @returns undefined when it needs none */
  async requeue(id: MessageId, generation: number): Promise<{ generation: number; due: number } | undefined> {
    const [next, due] = await this.#run('requeue', id, [generation])
    return Number(next) < 0 ? undefined : { generation: Number(next), due: Number(due) }
  }

  /** Ends a message that waits. @returns what happened; state undefined when there is no such message */
  async endWaiting(
    id: MessageId,
    state: 'cancelled' | 'expired',
  ): Promise<{ changed: boolean; state: MessageState | undefined; generation: number }> {
    return asChange(await this.#run('end-waiting', id, [stateNumber(state)]))
  }

  /**
   * Decides an uncertain message.
   * @param byRule true when the account's rule decides: that never sends again what a 2xx answered
   */
  async resolve(
    id: MessageId,
    as: 'submitted' | 'failed' | 'resend' | 'hold',
    byRule: boolean,
  ): Promise<{ changed: boolean; state: MessageState | undefined; generation: number }> {
    const error: MessageError = {
      code: 'UNCERTAIN',
      kind: 'uncertain',
      message: byRule
        ? 'The outcome stayed unknown and the account says that this is a failure.'
        : 'The outcome stayed unknown and an operator called it a failure.',
      at: 'submit',
    }
    return asChange(
      await this.#run('resolve', id, [as, byRule ? 1 : 0, as === 'failed' ? packError(error) : '']),
    )
  }

  /** @returns undefined when the ledger holds no such message (any more) */
  async read(id: MessageId): Promise<MessageRecord | undefined> {
    const { bucket, slot } = placeOf(id)
    const fields = await this.#fields(accountKeys(id.account).bucket(bucket))
    const record = decodeRecord(fields, slot)
    return record?.salt === id.salt ? record : undefined
  }

  /** Takes an id off the account's lists whose record is gone. */
  async forget(account: string, id: MessageId): Promise<void> {
    const lists = sharedKeys(this.keysOf(account))
    await Promise.all(lists.map((list) => this.#redis.zrem(list, id.text.slice(4))))
  }

  /** @returns what was stored with the message, null once it is final */
  content(id: MessageId): Promise<string | null> {
    return this.#redis.get(accountKeys(id.account).content(id.text))
  }

  /** @returns the message that the provider gave this request id, on whatever account */
  async findByRequestId(requestId: string): Promise<MessageId | undefined> {
    const numbers = [...this.#names.keys()]
    const sequences = await Promise.all(
      numbers.map((number) => this.#redis.get(accountKeys(number).requestId(requestId))),
    )
    for (const [index, sequence] of sequences.entries()) {
      if (sequence === null) continue
      const place = placeOf(createMessageId(numbers[index]!, Number(sequence), 0))
      const record = decodeRecord(
        await this.#fields(accountKeys(numbers[index]!).bucket(place.bucket)),
        place.slot,
      )
      if (record?.requestId === requestId)
        return createMessageId(numbers[index]!, Number(sequence), record.salt)
    }
    return undefined
  }

  /**
   * Messages with this reference, in the order they were accepted, account by account.
   * @param after where the page before ended
   */
  async findByReference(
    reference: string,
    limit: number,
    after: { account: number; offset: number } = { account: 0, offset: 0 },
  ): Promise<{ ids: MessageId[]; next: { account: number; offset: number } | undefined }> {
    const ids: MessageId[] = []
    for (const number of [...this.#names.keys()].sort((a, b) => a - b)) {
      if (number < after.account) continue
      const from = number === after.account ? after.offset : 0
      const page = await this.#redis.zrange(
        accountKeys(number).reference(reference),
        String(from),
        String(from + limit - ids.length), // one more than is missing: is there a next page?
      )
      for (const [index, text] of page.entries()) {
        if (ids.length === limit) return { ids, next: { account: number, offset: from + index } }
        const id = parseMessageId(`msg_${text}`)
        if (id) ids.push(id)
      }
    }
    return { ids, next: undefined }
  }

  /** How many messages of the account wait, are being sent, and are uncertain. */
  async depths(account: string): Promise<{ waiting: number; sending: number; uncertain: number }> {
    const keys = this.keysOf(account)
    const [waiting, sending, uncertain] = await Promise.all([
      this.#redis.zcard(keys.waiting),
      this.#redis.zcard(keys.sending),
      this.#redis.zcard(keys.uncertain),
    ])
    return { waiting, sending, uncertain }
  }

  /**
   * A page of the messages in one of the account's time-ordered lists.
   * @param until only those whose time is not later; milliseconds since 1970
   */
  async list(
    account: string,
    which: 'waiting' | 'sending' | 'uncertain' | 'expiring',
    until: number | '+inf',
    offset: number,
    limit: number,
  ): Promise<MessageId[]> {
    const texts = await this.#redis.zrangebyscore(
      this.keysOf(account)[which],
      '-inf',
      String(until),
      'LIMIT',
      offset,
      limit,
    )
    return texts.flatMap((text) => parseMessageId(`msg_${text}`) ?? [])
  }

  /** The time that the ledger goes by; milliseconds since 1970. */
  async now(): Promise<number> {
    if (this.#clock) return this.#clock()
    const [seconds, microseconds] = await this.#redis.time()
    return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000)
  }

  async #fields(key: string): Promise<Map<string, Buffer>> {
    const fields = await this.#redis.hgetallBuffer(key)
    return new Map(Object.entries(fields))
  }

  #now(): number | '' {
    return this.#clock ? Math.floor(this.#clock()) : ''
  }

  /** Runs a script about one message, together with those about others of its account. */
  #gather(
    script: GatheredName,
    id: MessageId,
    args: (string | number | Buffer)[],
    moreKeys: string[] = [],
  ): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const lot = `${script} ${id.account}`
      const together = this.#gathering.get(lot)
      const one = { id, args, moreKeys, resolve, reject }
      if (together) together.push(one)
      else {
        this.#gathering.set(lot, [one])
        gathered[script].wait(() => {
          const all = this.#gathering.get(lot) ?? []
          this.#gathering.delete(lot)
          for (let from = 0; from < all.length; from += MOST_TOGETHER) {
            void this.#runEach(script, accountKeys(id.account), all.slice(from, from + MOST_TOGETHER))
          }
        })
      }
    })
  }

  async #runEach(script: GatheredName, keys: AccountKeys, all: Gathered[]): Promise<void> {
    const allKeys = sharedKeys(keys)
    const allArgs: (string | number | Buffer)[] = [this.#now(), this.#retentionSeconds]
    for (const { id, args, moreKeys } of all) {
      const place = [keys.bucket(placeOf(id).bucket), keys.content(id.text), ...moreKeys]
      // Each has as many keys as the others: one that it does not use is its bucket.
      while (place.length < gathered[script].keys) place.push(place[0]!)
      allKeys.push(...place)
      allArgs.push(id.text.slice(4), ...args)
    }
    try {
      const replies = (await this.#call(script, allKeys, allArgs)) as unknown as Reply[]
      for (const [index, { resolve }] of all.entries()) resolve(replies[index]!)
    } catch (error) {
      for (const { reject } of all) reject(error)
    }
  }

  /** Runs a script about one message. */
  #run(
    script: ScriptName,
    id: MessageId,
    args: (string | number | Buffer)[],
    moreKeys: string[] = [],
  ): Promise<Reply> {
    const keys = accountKeys(id.account)
    const place = [keys.bucket(placeOf(id).bucket), keys.content(id.text)]
    const first = [this.#now(), this.#retentionSeconds, id.text.slice(4)]
    return this.#call(script, [...sharedKeys(keys), ...place, ...moreKeys], [...first, ...args])
  }

  #call(
    script: ScriptName | GatheredName,
    keys: string[],
    args: (string | number | Buffer)[],
  ): Promise<Reply> {
    const commands = this.#redis as unknown as Record<string, (...args: unknown[]) => Promise<Reply>>
    return commands[commandOf(script)]!(keys.length, ...keys, ...args)
  }
}

/** The first keys of every script, in the order of scripts/record.lua. */
const sharedKeys = (keys: AccountKeys): string[] => [
  keys.waiting,
  keys.sending,
  keys.uncertain,
  keys.expiring,
]

const packError = ({ code, kind, message, at }: MessageError): Buffer =>
  Buffer.from(pack([code.slice(0, 60), kind, message.slice(0, 300), at]))

const asChange = ([changed, state, generation]: Reply) => ({
  changed: changed === 1,
  state: state ? stateName(Number(state)) : undefined,
  generation: Number(generation),
})
