/**
 * Redis as the API sees it: it may be away, also when the process starts. The ledger is opened as soon as Redis is
 * there; before that nothing can be taken.
 */
import {
  type Account,
  Campaigns,
  checkFitness,
  connectLanes,
  createLane,
  Idempotency,
  Intake,
  type Lane,
  Ledger,
  Limiter,
  lanePrefix,
  ReceiptQueue,
  whenReady,
} from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { storeAway } from './problems.ts'

export interface StorageOptions {
  /** Connected for use `api`: an absent Redis is an error at once. */
  redis: Redis
  accounts: Account[]
  retentionDays: number
  log: Logger
}

/** Whether messages can be taken, and what is unsafe about where they would be kept. */
export interface StorageState {
  redis: 'up' | 'away'
  ledger: 'open' | 'closed'
  unsafe: string[]
}

const REOPEN_MS = 1_000
/** A chunk of an upload may wait longer than a request does: its sender is slowed meanwhile, not left in the dark. */
const UPLOAD_COMMAND_TIMEOUT_MS = 10_000
const UPLOAD_CONNECT_MS = 3_000

export class Storage {
  readonly redis: Redis
  readonly accounts: ReadonlyMap<string, Account>
  readonly ledger: Ledger
  readonly limiter: Limiter
  readonly intake: Intake
  readonly idempotency: Idempotency
  readonly receipts: ReceiptQueue
  readonly campaigns: Campaigns
  /** The same on a connection of its own, so that no other request waits behind the rows of an upload. */
  readonly uploads: Campaigns
  readonly #uploadRedis: Redis
  readonly #laneRedis: Redis
  readonly #lanes = new Map<string, Lane>()
  readonly #log: Logger
  readonly #listeners: (() => void)[] = []
  #opened = false
  #closed = false
  #timer: NodeJS.Timeout | undefined

  constructor({ redis, accounts, retentionDays, log }: StorageOptions) {
    this.redis = redis
    this.accounts = new Map(accounts.map((account) => [account.id, account]))
    this.#log = log
    this.#laneRedis = connectLanes(redis)
    this.limiter = new Limiter(redis)
    this.ledger = new Ledger({ redis, retentionDays })
    this.intake = new Intake({ ledger: this.ledger, accounts: this.accounts, lanes: this.#lanes, log })
    this.idempotency = new Idempotency(redis, retentionDays)
    this.receipts = new ReceiptQueue(redis, this.ledger)
    this.#uploadRedis = redis.duplicate({ commandTimeout: UPLOAD_COMMAND_TIMEOUT_MS })
    this.#uploadRedis.on('error', () => {}) // the other connection tells it
    this.campaigns = new Campaigns({ redis, ledger: this.ledger, retentionDays })
    this.uploads = new Campaigns({ redis: this.#uploadRedis, ledger: this.ledger, retentionDays })
  }

  /** Opens the ledger now, or when Redis comes; again whenever it comes back, since it may be another one. */
  start(): void {
    this.redis.on('ready', this.#open)
    if (this.redis.status === 'ready') void this.#open()
  }

  /** Lanes by account id; empty until the ledger is open. */
  get lanes(): ReadonlyMap<string, Lane> {
    return this.#lanes
  }

  /** @throws {Problem} 503 while the ledger is not open */
  mustBeOpen(): void {
    if (!this.#opened) throw storeAway()
  }

  /** @throws {Problem} 503 while {@link uploads} has no connection */
  async uploadsMustBeReady(): Promise<void> {
    this.mustBeOpen()
    try {
      await whenReady(this.#uploadRedis, UPLOAD_CONNECT_MS)
    } catch {
      throw storeAway()
    }
  }

  /** Calls back whenever there are new lanes. */
  onLanes(listener: () => void): void {
    this.#listeners.push(listener)
    if (this.#lanes.size) listener()
  }

  /** Asks Redis; takes as long as one command may take at most. */
  async state(): Promise<StorageState> {
    const ledger = this.#opened ? 'open' : 'closed'
    // While Redis reads its file, INFO is answered and nothing else is.
    const connected = [this.redis, this.#laneRedis].every(({ status }) => status === 'ready')
    if (!connected) return { redis: 'away', ledger, unsafe: [] }
    try {
      return { redis: 'up', ledger, unsafe: (await checkFitness(this.redis)).unsafe }
    } catch {
      return { redis: 'away', ledger, unsafe: [] }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.redis.off('ready', this.#open)
    await this.intake.close()
    await Promise.allSettled([...this.#lanes.values()].map((lane) => lane.close()))
    this.#laneRedis.disconnect()
    this.#uploadRedis.disconnect()
  }

  readonly #open = async (): Promise<void> => {
    clearTimeout(this.#timer)
    try {
      await this.ledger.open([...this.accounts.keys()])
      if (this.#closed) return
      this.#openLanes()
      if (!this.#opened) await this.#warn()
      this.#opened = true
    } catch (error) {
      if (this.#closed) return
      this.#log.warn({ reason: (error as Error).message }, 'ledger.not_open')
      // A Redis that is gone will tell when it is back; one that is still loading will not.
      this.#timer = setTimeout(() => void this.#open(), REOPEN_MS)
    }
  }

  #openLanes(): void {
    let changed = false
    for (const account of this.accounts.keys()) {
      const before = this.#lanes.get(account)
      // After a Redis that lost its data the account may have another number.
      if (before?.opts.prefix === lanePrefix(this.ledger.numberOf(account))) continue
      const lane = createLane(account, this.ledger, this.#laneRedis)
      lane.on('error', () => {}) // the connection's own listener tells it once per outage
      this.#lanes.set(account, lane)
      void before?.close()
      changed = true
    }
    if (changed) for (const listener of this.#listeners) listener()
  }

  async #warn(): Promise<void> {
    const { unsafe, unknown } = await checkFitness(this.redis)
    for (const reason of unsafe) this.#log.warn({ reason }, 'redis.unsafe')
    for (const reason of unknown) this.#log.warn({ reason }, 'redis.unknown')
  }
}
