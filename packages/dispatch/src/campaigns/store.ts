/**
 * Campaigns as they lie in Redis: what they are, their rows in chunks, their state. Each change is one atomic script
 * (scripts/*.lua); the keys are in ledger/keys.ts. Nothing here holds more than one chunk.
 */
import { hash, randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { pack } from 'msgpackr'
import { createMessageId, type Ledger, type MessageId, type MessageState } from '../ledger/index.ts'
import { type AccountKeys, accountKeys, accountTag, campaignNameKey, shortHash } from '../ledger/keys.ts'
import { STATES } from '../ledger/record.ts'
import { CAMPAIGN_STATES, type CampaignDefinition, type CampaignState } from './campaign.ts'
import { type CampaignRow, CHUNK_ROWS, type Chunk, columnsOf, packColumns, unpackChunk } from './chunk.ts'
import { type CampaignId, createCampaignId } from './ids.ts'

/** What the feeder has to do on the lane after a change of state. */
export const LANE_WORK = { jobsOff: 1, jobsOn: 2, endWaiting: 3 } as const

/** A retry that is going on. */
export interface RetryPass {
  /** Which of the campaign's retries it is. */
  run: number
  /** Only failures with these; empty for all. */
  codes: string[]
  /** The next row to look at, and the one to stop before: chunk × 512 + index. */
  cursor: number
  to: number
}

/** How many messages had their first answer at a time. */
export interface Sample {
  at: number
  count: number
}

/** A campaign as it is stored; times are milliseconds since 1970. */
export interface CampaignRecord {
  id: CampaignId
  definition: CampaignDefinition
  state: CampaignState
  total: number
  counts: Partial<Record<MessageState, number>>
  rejected: number
  duplicates: number
  createdAt: number
  startedAt?: number
  /** When every row had its final state. */
  finishedAt?: number
  chunks: number
  /** The next row that becomes a message: chunk × 512 + index. */
  cursor: number
  /** Rows that are messages by now. */
  fed: number
  /** What became of the rows from the cursor on, when they will never be messages. */
  unfedAs?: 'cancelled' | 'expired'
  /** What the feeder has to do on the lane; `run` tells one piece of work from the next. */
  laneWork?: { kind: number; run: string }
  retry?: RetryPass
  samples: Sample[]
}

export type CampaignAction = 'start' | 'pause' | 'resume' | 'cancel' | 'retry' | 'due' | 'expire' | 'finish'
export interface ActionResult {
  result: 'done' | 'refused' | 'empty' | 'over' | 'unknown'
  state: CampaignState | undefined
}

/** One upload of rows, so that it can be repeated under its Idempotency-Key. */
export interface Upload {
  /** Absent: it is not remembered. */
  key?: string | undefined
}

/** What {@link Campaigns.pack} made of some rows. */
export interface PackedRows {
  recipients: Buffer
  refused: Buffer
  columns: Buffer
  checksum: string
}

export type Stored =
  /** `again`: this chunk of this upload was stored before. */
  | { kind: 'stored' | 'again'; accepted: number; duplicates: number }
  /** The key was used for another body. */
  | { kind: 'conflict' }
  /** The campaign takes no more rows. */
  | { kind: 'closed'; state: CampaignState }
  | { kind: 'unknown' }

export interface CampaignsOptions {
  redis: Redis
  ledger: Ledger
  retentionDays: number
}

const UPLOAD_REMEMBERED_SECONDS = 86_400
/** For how long it is known which campaigns had a name. */
const NAMES_KEPT_SECONDS = 31 * 86_400
/** Campaigns that are looked at in one go when old ones are forgotten. */
const FORGOTTEN_TOGETHER = 500
const scripts = ['create', 'store', 'control'] as const
type Run = (...args: (string | number | Buffer)[]) => Promise<unknown>

export class Campaigns {
  readonly #redis: Redis
  readonly #ledger: Ledger
  readonly #retentionSeconds: number

  constructor({ redis, ledger, retentionDays }: CampaignsOptions) {
    this.#redis = redis
    this.#ledger = ledger
    this.#retentionSeconds = Math.round(retentionDays * 86_400)
    for (const name of scripts) {
      const lua = readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8')
      redis.defineCommand(`campaign-${name}`, { lua, numberOfKeys: 1 })
    }
  }

  #run(name: (typeof scripts)[number], account: number, ...args: (string | number | Buffer)[]) {
    const commands = this.#redis as unknown as Record<string, Run>
    return commands[`campaign-${name}`]!(accountTag(account), ...args)
  }

  /** An id for {@link create}, so that creating can be repeated: the same id makes one campaign. */
  async reserve(account: string): Promise<CampaignId> {
    const number = this.#ledger.numberOf(account)
    return createCampaignId(
      number,
      await this.#redis.incr(accountKeys(number).newestCampaign),
      randomInt(2 ** 32),
    )
  }

  /**
   * Makes a draft.
   * @param id reserved before; when it is a campaign already, that stays as it is
   */
  async create(definition: CampaignDefinition, id?: CampaignId): Promise<CampaignId> {
    for (;;) {
      const reserved = id ?? (await this.reserve(definition.account))
      if (await this.#create(definition, reserved)) return reserved
      // Another campaign has its random number: the next one will not.
      id = undefined
    }
  }

  async #create(definition: CampaignDefinition, id: CampaignId): Promise<boolean> {
    const now = await this.#ledger.now()
    const { sendAt = '', expiresAt = '' } = definition
    const text = JSON.stringify(definition)
    const made = await this.#run('create', id.account, id.number, now, id.salt, text, sendAt, expiresAt)
    if (made === 0) return false
    const name = campaignNameKey(definition.name)
    await this.#redis
      .multi()
      .zadd(name, 'NX', now, id.text)
      .zremrangebyscore(name, '-inf', now - NAMES_KEPT_SECONDS * 1_000)
      .expire(name, NAMES_KEPT_SECONDS)
      .exec()
    return true
  }

  #key(id: CampaignId): string {
    return accountKeys(id.account).campaign(id.number)
  }

  /** @returns undefined when there is none with this id (any more) */
  async read(id: CampaignId): Promise<CampaignRecord | undefined> {
    const record = recordOf(id, await this.#redis.hgetall(this.#key(id)))
    return record?.id.salt === id.salt ? record : undefined
  }

  /** A campaign by its number in an account. */
  async readNumber(account: number, number: number): Promise<CampaignRecord | undefined> {
    const fields = await this.#redis.hgetall(accountKeys(account).campaign(number))
    return recordOf(createCampaignId(account, number, Number(fields.x)), fields)
  }

  /**
   * Campaigns of an account, the newest first.
   * @param before the number of the last one of the page before
   */
  async list(account: string, limit: number, before = Number.POSITIVE_INFINITY): Promise<CampaignRecord[]> {
    const keys = this.#ledger.keysOf(account)
    const owner = this.#ledger.numberOf(account)
    const found: CampaignRecord[] = []
    for (let max = before === Number.POSITIVE_INFINITY ? '+inf' : `(${before}`; found.length < limit; ) {
      const wanted = limit - found.length
      const names = await this.#redis.zrevrangebyscore(keys.campaigns, max, '-inf', 'LIMIT', 0, wanted)
      const numbers = names.map((name) => Number(name.split(':')[0]))
      const records = await Promise.all(numbers.map((number) => this.readNumber(owner, number)))
      // A name may outlive its campaign for a while.
      found.push(...records.filter((record) => record !== undefined))
      if (names.length < wanted) break
      max = `(${numbers.at(-1)}`
    }
    return found
  }

  /** Campaigns that had this name when they were created, in whatever account, from `since` on. */
  async named(name: string, since: number): Promise<string[]> {
    return this.#redis.zrangebyscore(campaignNameKey(name), since, '+inf')
  }

  /** Numbers of the account's campaigns for which the feeder has something to do. */
  async active(account: string): Promise<number[]> {
    const numbers = await this.#redis.smembers(this.#ledger.keysOf(account).activeCampaigns)
    return numbers.map(Number).sort((a, b) => a - b)
  }

  /**
   * Packs rows for {@link store}.
   * @param rows at most {@link CHUNK_ROWS}
   * @param refused reasons of rows that do not fit, with how many there were, for the campaign's totals
   */
  pack(rows: CampaignRow[], refused: ReadonlyMap<string, number>): PackedRows {
    if (rows.length > CHUNK_ROWS) throw new RangeError(`more than ${CHUNK_ROWS} rows in a chunk`)
    const columns = columnsOf(rows)
    const reasons = [...refused].flat()
    return {
      recipients: pack(rows.map(({ to }) => Number(to))),
      refused: pack(reasons),
      checksum: hash('sha256', columns + reasons.join(), 'base64url').slice(0, 11),
      columns: packColumns(columns),
    }
  }

  /**
   * Stores rows of an upload as one chunk, without those whose recipient is in the campaign already; to be called in
   * the order of the file.
   * @param ordinal which chunk of the upload it is, from 0
   */
  async store(id: CampaignId, upload: Upload, ordinal: number, packed: PackedRows): Promise<Stored> {
    const [kind, first, second] = (await this.#run(
      'store',
      id.account,
      id.number,
      id.salt,
      packed.recipients,
      packed.columns,
      packed.refused,
      upload.key === undefined ? '' : shortHash(upload.key),
      ordinal,
      packed.checksum,
      UPLOAD_REMEMBERED_SECONDS,
    )) as [Stored['kind'], number, number]
    switch (kind) {
      case 'stored':
      case 'again':
        return { kind, accepted: first, duplicates: second }
      case 'closed':
        return { kind, state: CAMPAIGN_STATES[first - 1]! }
      default:
        return { kind }
    }
  }

  #uploadKey(id: CampaignId, key: string): string {
    return `${this.#key(id)}:i:${shortHash(key)}`
  }

  /** @returns the answer that an upload under this key was given, when it was read to its end */
  async uploaded(id: CampaignId, key: string): Promise<{ chunks: number; answer: unknown } | undefined> {
    const text = await this.#redis.hget(this.#uploadKey(id, key), 'done')
    return text === null ? undefined : (JSON.parse(text) as { chunks: number; answer: unknown })
  }

  /** Remembers the answer of an upload that was read to its end. */
  async completeUpload(id: CampaignId, key: string, chunks: number, answer: unknown): Promise<void> {
    const name = this.#uploadKey(id, key)
    await this.#redis
      .multi()
      .hset(name, 'done', JSON.stringify({ chunks, answer }))
      .expire(name, UPLOAD_REMEMBERED_SECONDS)
      .exec()
  }

  /** Reasons of refused rows, with how many there were. */
  async refusals(id: CampaignId): Promise<Record<string, number>> {
    const counts = await this.#redis.hgetall(`${this.#key(id)}:e`)
    return Object.fromEntries(Object.entries(counts).map(([reason, count]) => [reason, Number(count)]))
  }

  /** @param codes for `retry`: only failures with these; absent for all */
  async act(id: CampaignId, action: CampaignAction, codes: string[] = []): Promise<ActionResult> {
    const now = await this.#ledger.now()
    const [result, state] = (await this.#run(
      'control',
      id.account,
      now,
      id.number,
      id.salt,
      action,
      JSON.stringify(codes),
    )) as [ActionResult['result'], number]
    return { result, state: CAMPAIGN_STATES[state - 1] }
  }

  /** @returns undefined when it is gone */
  async chunk(id: CampaignId, number: number): Promise<Chunk | undefined> {
    const stored = await this.#redis.getBuffer(`${this.#key(id)}:r:${number}`)
    return stored === null ? undefined : unpackChunk(number, stored)
  }

  /** Which of these recipients the campaign has. At most a few hundred at a time. */
  async has(id: CampaignId, recipients: string[]): Promise<boolean[]> {
    const pipeline = this.#redis.pipeline()
    for (const to of recipients) pipeline.sismember(recipientsKey(this.#key(id), to), to)
    const results = (await pipeline.exec()) ?? []
    return results.map(([error, member]) => {
      if (error) throw error
      return member === 1
    })
  }

  /** The id of a row's message. */
  messageId(id: CampaignId, chunk: Chunk, index: number): MessageId {
    return createMessageId(id.account, chunk.first + index, id.salt)
  }

  /** @returns where the row of a message is, also of one that is no message yet; undefined when it is of no campaign */
  async findRow(
    message: MessageId,
  ): Promise<{ campaign: CampaignRecord; chunk: Chunk; index: number } | undefined> {
    const keys = accountKeys(message.account)
    const number = await this.#redis.hget(keys.campaignSalts, String(message.salt))
    if (number === null) return undefined
    const campaign = await this.readNumber(message.account, Number(number))
    if (campaign?.id.salt !== message.salt) return undefined
    const [at] = await this.#redis.zrevrangebyscore(
      `${this.#key(campaign.id)}:c`,
      String(message.sequence),
      '-inf',
      'LIMIT',
      0,
      1,
    )
    const chunk = at === undefined ? undefined : await this.chunk(campaign.id, Number(at))
    const index = chunk ? message.sequence - chunk.first : -1
    return chunk?.rows[index] ? { campaign, chunk, index } : undefined
  }

  /**
   * Keeps where a retry stands, unless another was asked for meanwhile.
   * @param cursor undefined when it is over
   */
  async keepRetry(id: CampaignId, retry: RetryPass, cursor: number | undefined): Promise<void> {
    const stands = JSON.stringify([retry.run, cursor ?? -1])
    await this.#run('control', id.account, 0, id.number, id.salt, 'retried', stands)
  }

  /** The feeder has done what was to be done on the lane, unless something else is to be done by now. */
  async laneWorkDone(id: CampaignId, run: string): Promise<void> {
    await this.#run('control', id.account, 0, id.number, id.salt, 'worked', run)
  }

  async keepSamples(id: CampaignId, samples: Sample[]): Promise<void> {
    await this.#redis.hset(this.#key(id), 'S', JSON.stringify(samples))
  }

  /** The campaign's messages that wait, a page of them in the order in which they are due. */
  waitingKey(id: CampaignId): string {
    return `${this.#key(id)}:w`
  }

  /** Lets a chunk and the records of its messages live on, or end when retention does. */
  async retainChunk(id: CampaignId, chunk: Chunk, retained: boolean): Promise<void> {
    const keys = accountKeys(id.account)
    const pipeline = this.#redis.pipeline()
    for (const key of chunkKeys(keys, id, chunk)) {
      if (retained) pipeline.expire(key, this.#retentionSeconds)
      else pipeline.persist(key)
    }
    await pipeline.exec()
  }

  /** Forgets which recipients a finished campaign had, a part at a time. */
  async dropRecipients(id: CampaignId): Promise<void> {
    for (let from = 0; from < RECIPIENT_SETS; from += DROPPED_TOGETHER) {
      const keys = Array.from(
        { length: DROPPED_TOGETHER },
        (_, index) => `${this.#key(id)}:d:${from + index}`,
      )
      await this.#redis.unlink(keys)
    }
  }

  /** The feeder has nothing to do any more, unless a retry was asked for meanwhile; what is left ends with retention. */
  async retire(id: CampaignId): Promise<void> {
    await this.#run('control', id.account, 0, id.number, id.salt, 'retire', String(this.#retentionSeconds))
  }

  /**
   * Takes campaigns off the lists whose retention is over, some at a time.
   * @param from the number to begin with
   * @returns the number to go on with; 0 after the last one
   */
  async forgetOld(account: string, from = 0): Promise<number> {
    const keys = this.#ledger.keysOf(account)
    const number = this.#ledger.numberOf(account)
    const names = await this.#redis.zrangebyscore(
      keys.campaigns,
      from,
      '+inf',
      'LIMIT',
      0,
      FORGOTTEN_TOGETHER,
    )
    let last = from
    for (const name of names) {
      const [campaign, salt] = name.split(':') as [string, string]
      last = Number(campaign)
      if (await this.#redis.exists(accountKeys(number).campaign(last))) continue
      await this.#redis.zrem(keys.campaigns, name)
      await this.#redis.hdel(keys.campaignSalts, salt)
    }
    return names.length < FORGOTTEN_TOGETHER ? 0 : last + 1
  }
}

const RECIPIENT_SETS = 16_384
const DROPPED_TOGETHER = 512
const recipientsKey = (campaign: string, to: string) => `${campaign}:d:${Number(to) % RECIPIENT_SETS}`

function chunkKeys(keys: AccountKeys, id: CampaignId, chunk: Chunk): string[] {
  const buckets = Array.from({ length: Math.ceil(chunk.rows.length / 16) }, (_, index) =>
    keys.bucket(((chunk.first + 16 * index) / 16).toString(16).padStart(9, '0')),
  )
  return [`${keys.campaign(id.number)}:r:${chunk.number}`, ...buckets]
}

function recordOf(id: CampaignId, fields: Record<string, string>): CampaignRecord | undefined {
  if (fields.s === undefined || fields.D === undefined) return undefined
  const number = (field: string) => Number(fields[field] ?? 0)
  const counts: CampaignRecord['counts'] = {}
  for (const [index, state] of STATES.entries()) {
    const count = number(String(index + 1))
    if (count > 0) counts[state] = count
  }
  const gone = number('U')
  return {
    id: createCampaignId(id.account, id.number, number('x')),
    definition: JSON.parse(fields.D) as CampaignDefinition,
    state: CAMPAIGN_STATES[number('s') - 1]!,
    total: number('t'),
    counts,
    rejected: number('j'),
    duplicates: number('d'),
    createdAt: number('cA'),
    ...(fields.sA !== undefined && { startedAt: number('sA') }),
    ...(fields.zA !== undefined && { finishedAt: number('zA') }),
    chunks: number('h'),
    cursor: number('f'),
    fed: number('F'),
    ...(gone > 0 && { unfedAs: STATES[gone - 1] as 'cancelled' | 'expired' }),
    ...(fields.P !== undefined && { laneWork: { kind: Number.parseInt(fields.P, 10), run: fields.P } }),
    ...(fields.R !== undefined && { retry: JSON.parse(fields.R) as RetryPass }),
    samples: fields.S === undefined ? [] : (JSON.parse(fields.S) as Sample[]),
  }
}
