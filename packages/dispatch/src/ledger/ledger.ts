/**
 * The ledger: the durable record of every message and attempt, and the only authority on whether
 * something may be sent. Each step is one atomic script (scripts/*.lua); the key layout is in keys.ts,
 * the layout of a record in record.ts.
 */
import type { Redis } from 'ioredis'
import type { PostBack, PostBackOutbox, PostBackSettlement } from '../post-backs/outbox.ts'
import {
  asAccepted,
  asCall,
  asChange,
  asPostBack,
  asSettled,
  asUnmatched,
  errorFields,
  type PennedReceipt,
  receiptCall,
  settleArguments,
} from './calls.ts'
import { createMessageId, type MessageId, parseMessageId, placeOf, SLOTS } from './ids.ts'
import { type AccountKeys, accountKeys, accountsKey, listKeys, requestIdPlace } from './keys.ts'
import {
  decodeRecord,
  type MessageError,
  type MessageRecord,
  type MessageState,
  stateName,
  stateNumber,
} from './record.ts'
import { type Call, Scripts } from './scripts.ts'
import type {
  Accepted,
  AppliedReceipt,
  ClaimResult,
  Held,
  LaneScript,
  LedgerOptions,
  LedgerReceipt,
  NewMessage,
  Settled,
  Settlement,
  UnmatchedReceipt,
} from './types.ts'
import { unpack } from './unpack.ts'

/** Ids in one block. */
const IDS_AHEAD = 1_024
const DAY_MS = 86_400_000

export class Ledger implements PostBackOutbox {
  readonly #redis: Redis
  readonly #scripts: Scripts
  readonly #clock: (() => number) | undefined
  readonly #retentionDays: number
  readonly #numbers = new Map<string, number>()
  readonly #names = new Map<number, string>()
  readonly #free = new Map<string, { next: number; end: number }>()
  readonly #allocating = new Map<string, Promise<void>>()

  constructor(options: LedgerOptions) {
    this.#redis = options.redis
    this.#clock = options.clock
    this.#retentionDays = options.retentionDays
    this.#scripts = new Scripts(options)
  }

  /**
   * Learns the accounts' numbers, which are part of each message id. To be called before the rest, and again whenever
   * Redis comes back: one that lost its data gets the numbers back, and no id of before is given away again.
   * @returns whether every account has the number it had
   */
  async open(accountIds: string[]): Promise<boolean> {
    this.#free.clear()
    if (accountIds.length === 0) return true
    const known = accountIds.flatMap((id) => [id, this.#numbers.get(id) ?? 0])
    const numbers = await this.#scripts.register(accountsKey, known)
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
   * @param onto adds their jobs in the same go; only for messages that may be sent at once
   * @returns for each, in order, the state it has by now and when it is due; milliseconds since 1970
   */
  async accept(account: string, messages: NewMessage[], onto?: LaneScript): Promise<Accepted[]> {
    const number = this.numberOf(account)
    const calls = messages.map(asCall)
    const replies = onto
      ? await this.#scripts.acceptOnto(number, calls, onto)
      : await this.#scripts.each('accept', number, calls)
    const accepted = replies.map(asAccepted)
    // Somebody else was given the same block by a Redis that had lost its last moments.
    if (accepted.some(({ state }) => state === undefined)) this.#free.delete(account)
    return accepted
  }

  /**
   * Turns the next rows of a campaign into messages, if it is running and nobody else has done it.
   * @param messages of this campaign
   * @param cursor where its feeding stands; {@link next} behind these messages
   * @returns as {@link accept}; undefined when nothing was done
   */
  async feed(
    account: string,
    campaign: number,
    messages: NewMessage[],
    cursor: number,
    next: number,
  ): Promise<Accepted[] | undefined> {
    const calls = messages.map(asCall)
    const replies = await this.#scripts.feed(this.numberOf(account), calls, campaign, cursor, next)
    return replies?.map(asAccepted)
  }

  /** Puts failed messages of a running campaign back into the queue. @returns for each its new generation, or undefined */
  async reopen(
    account: string,
    messages: { id: MessageId; content: string }[],
  ): Promise<(number | undefined)[]> {
    const calls = messages.map(({ id, content }): Call => [id.text.slice(4), content])
    const replies = await this.#scripts.each('reopen', this.numberOf(account), calls)
    return replies.map(([generation]) => (Number(generation) < 0 ? undefined : Number(generation)))
  }

  /**
   * Asks for the right to make one attempt; durable before it is given.
   * @param generation the job's; an older job than the message's newest is stale
   * @param holdMs how long the claim is believed in; longer than the attempt can take
   * @param token names the asker: when the answer was lost with a connection, asking again gives the same claim
   */
  async claim(id: MessageId, generation: number, holdMs: number, token: string): Promise<ClaimResult> {
    const [kind, ...rest] = await this.#scripts.gather('claim', id, [generation, holdMs, token])
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
      case 'parked':
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
  async settle(id: MessageId, settlement: Settlement): Promise<Settled> {
    return asSettled(await this.#scripts.gather('settle', id, settleArguments(settlement)))
  }

  /** The step that {@link settle} runs, for a script that does more in the same go. */
  get settleScript(): string {
    return this.#scripts.settleScript
  }

  /** What {@link settleScript} is given, its key first. */
  settleScriptArguments(account: number, settlements: { id: MessageId; settlement: Settlement }[]) {
    return this.#scripts.settleScriptArguments(
      account,
      settlements.map(({ id, settlement }) => [id.text.slice(4), ...settleArguments(settlement)]),
    )
  }

  /**
   * Applies what a provider said later about messages of one account, in whatever order it comes; a repetition changes
   * nothing. What matches no message waits in the pen until one learns its request id or wamid.
   * @returns for each, in order
   */
  async applyReceipts(account: string, receipts: LedgerReceipt[]): Promise<AppliedReceipt[]> {
    if (receipts.length === 0) return []
    const number = this.numberOf(account)
    const replies = await this.#scripts.receipts(
      number,
      receipts.map((receipt) => receiptCall(receipt, number)),
    )
    return replies.map(([id, state, moved]) => ({
      id: id ? parseMessageId(`msg_${id}`) : undefined,
      state: state ? stateName(Number(state)) : undefined,
      moved: moved === 1,
    }))
  }

  /**
   * Receipts that match no message so far, the oldest first.
   * @param offset where the page begins
   */
  async unmatchedReceipts(account: string, limit: number, offset = 0): Promise<UnmatchedReceipt[]> {
    const { pen, penByTime } = this.keysOf(account)
    const hashes = await this.#redis.zrange(penByTime, String(offset), String(offset + limit - 1))
    if (hashes.length === 0) return []
    const packed = await this.#redis.hmgetBuffer(pen, ...hashes)
    return packed.flatMap((receipts) =>
      receipts ? (unpack(receipts) as PennedReceipt[]).map(asUnmatched) : [],
    )
  }

  /** How many request ids and wamids have receipts that match no message. */
  unmatchedCount(account: string): Promise<number> {
    return this.#redis.zcard(this.keysOf(account).penByTime)
  }

  /**
   * Takes events that callers are to be told of: the oldest of each message. What is not settled comes back by itself.
   * @param most in all
   * @param room for how many there is room, by receiver; 0 for none
   * @param roomForOthers the same for receivers that are not in `room`
   * @param leaseMs after how long a taken one comes back
   */
  async takePostBacks(
    account: string,
    most: number,
    room: ReadonlyMap<string, number>,
    roomForOthers: number,
    leaseMs: number,
  ): Promise<PostBack[]> {
    const number = this.numberOf(account)
    const replies = await this.#scripts.takePostBacks(number, [...room], roomForOthers, most, leaseMs)
    return replies.map(asPostBack)
  }

  /** Writes what became of one call to a receiver; only when the event is delivered or dead is the next one due. */
  async settlePostBack(id: MessageId, event: number, settlement: PostBackSettlement): Promise<void> {
    const { next, code, durationMs } = settlement
    const [what, inMs] = typeof next === 'string' ? [next, 0] : ['later', Math.round(next.inMs)]
    const args = [event, what, inMs, code.slice(0, 40), Math.round(durationMs)]
    await this.#scripts.one('post-back', id, args)
  }

  /** Puts an event back that was delivered or is dead. @returns false when there is no such one */
  async resendPostBack(id: MessageId, event: number): Promise<boolean> {
    const [written] = await this.#scripts.one('post-back', id, [event, 'again', 0, '', 0])
    return written === 1
  }

  /** Events that were given up, the oldest first. @param offset where the page begins */
  async deadPostBacks(
    account: string,
    limit: number,
    offset = 0,
  ): Promise<{ id: MessageId; event: number; at: number }[]> {
    const key = this.keysOf(account).deadPostBacks
    const found = await this.#redis.zrange(key, String(offset), String(offset + limit - 1), 'WITHSCORES')
    const dead: { id: MessageId; event: number; at: number }[] = []
    for (let index = 0; index < found.length; index += 2) {
      const [text, event] = found[index]!.split('.')
      const id = parseMessageId(`msg_${text}`)
      if (id) dead.push({ id, event: Number(event), at: Number(found[index + 1]) })
    }
    return dead
  }

  /** Makes a new generation for a waiting message whose job is gone. @returns undefined when it needs none */
  async requeue(id: MessageId, generation: number): Promise<{ generation: number; due: number } | undefined> {
    const [next, due] = await this.#scripts.one('requeue', id, [generation])
    return Number(next) < 0 ? undefined : { generation: Number(next), due: Number(due) }
  }

  /** As {@link requeue}, for many of one account. @returns for each, in order */
  async requeueEach(
    account: string,
    messages: { id: MessageId; generation: number }[],
  ): Promise<({ generation: number; due: number } | undefined)[]> {
    const calls = messages.map(({ id, generation }): Call => [id.text.slice(4), generation])
    const replies = await this.#scripts.each('requeue', this.numberOf(account), calls)
    return replies.map(([generation, due]) =>
      Number(generation) < 0 ? undefined : { generation: Number(generation), due: Number(due) },
    )
  }

  /** Ends messages of one account, those that wait. @returns for each its generation, or undefined when it did not */
  async cancelWaiting(account: string, ids: MessageId[]): Promise<(number | undefined)[]> {
    const calls = ids.map(({ text }): Call => [text.slice(4), stateNumber('cancelled')])
    const replies = await this.#scripts.each('end-waiting', this.numberOf(account), calls)
    return replies.map(([changed, , generation]) => (changed === 1 ? Number(generation) : undefined))
  }

  /** Ends a message that waits. @returns what happened; state undefined when there is no such message */
  async endWaiting(
    id: MessageId,
    state: 'cancelled' | 'expired',
  ): Promise<{ changed: boolean; state: MessageState | undefined; generation: number }> {
    return asChange(await this.#scripts.one('end-waiting', id, [stateNumber(state)]))
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
      await this.#scripts.one('resolve', id, [as, byRule ? 1 : 0, as === 'failed' ? errorFields(error) : '']),
    )
  }

  /** @returns undefined when the ledger holds no such message (any more) */
  async read(id: MessageId): Promise<MessageRecord | undefined> {
    const { bucket, slot } = placeOf(id)
    const fields = await this.#fields(accountKeys(id.account).bucket(bucket))
    const record = decodeRecord(fields, slot)
    return record?.salt === id.salt ? record : undefined
  }

  /**
   * The records of messages with consecutive places, as a campaign's are; a bucket is read once.
   * @param ids of one account, in the order of their places
   * @returns for each, undefined where the ledger holds no such message
   */
  async readEach(ids: MessageId[]): Promise<(MessageRecord | undefined)[]> {
    const buckets = new Map<string, Promise<Map<string, Buffer>>>()
    return Promise.all(
      ids.map(async (id) => {
        const { bucket, slot } = placeOf(id)
        const fields = buckets.get(bucket) ?? this.#fields(accountKeys(id.account).bucket(bucket))
        buckets.set(bucket, fields)
        const record = decodeRecord(await fields, slot)
        return record?.salt === id.salt ? record : undefined
      }),
    )
  }

  /** Takes an id off the account's lists, and another one, whose record is gone. */
  async forget(account: string, id: MessageId, list?: string): Promise<void> {
    const lists = [...listKeys(this.keysOf(account)), ...(list === undefined ? [] : [list])]
    await Promise.all(lists.map((list) => this.#redis.zrem(list, id.text.slice(4))))
  }

  /** @returns what was stored with the message, null once it is final */
  content(id: MessageId): Promise<string | null> {
    return this.#redis.get(accountKeys(id.account).content(id.text))
  }

  /** @returns the message that the provider gave this request id, on whatever account */
  async findByRequestId(requestId: string): Promise<MessageId | undefined> {
    const { place, field } = requestIdPlace(requestId)
    const today = Math.floor((await this.now()) / DAY_MS)
    const days = Array.from({ length: Math.ceil(this.#retentionDays) + 2 }, (_, ago) => today - ago)
    const numbers = [...this.#names.keys()].flatMap((number) => days.map(() => number))
    const sequences = await Promise.all(
      numbers.map((number, index) =>
        this.#redis.hget(accountKeys(number).requestIds(days[index % days.length]!, place), field),
      ),
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
    return this.listOf(this.keysOf(account)[which], until, offset, limit)
  }

  /** As {@link list}, of a list by its key. */
  async listOf(key: string, until: number | '+inf', offset: number, limit: number): Promise<MessageId[]> {
    const texts = await this.#redis.zrangebyscore(key, '-inf', String(until), 'LIMIT', offset, limit)
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
}
