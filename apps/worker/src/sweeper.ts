/**
 * The ledger is the outbox: what it holds and the lanes do not know is mended here. Running it at any time, in any
 * number of processes, is harmless; a lock only saves the work.
 */
import {
  type Account,
  addToLane,
  jobIdOf,
  type Lane,
  type Ledger,
  type MessageId,
  type StoredContent,
  sweepKey,
} from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { type DispatchDependencies, giveUpWhenLost } from './process-dispatch.ts'

export interface SweptLane {
  account: Account
  lane: Lane
  dependencies: DispatchDependencies
}

export interface SweeperOptions {
  ledger: Ledger
  redis: Redis
  lanes: SweptLane[]
  log: Logger
  intervalMs?: number
}

const PAGE = 500
/** At most so many messages of a lane are looked at in one run. */
const MOST = 5_000
/** Counts that agree can hide a lost job behind a superseded one: every so many runs all is looked at. */
const FULL_EVERY = 15

export class Sweeper {
  readonly #options: SweeperOptions
  readonly #offsets = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false
  #runs = 0

  constructor(options: SweeperOptions) {
    this.#options = options
  }

  start(): void {
    const { intervalMs = 2_000, redis, log } = this.#options
    const tick = async () => {
      const mine = await redis.set(sweepKey, String(process.pid), 'PX', Math.round(intervalMs * 0.9), 'NX')
      if (mine === 'OK') await this.sweep()
    }
    const loop = () => {
      if (this.#closed) return
      this.#timer = setTimeout(() => {
        this.#running = tick()
          .catch((error: Error) => log.warn({ reason: error.message }, 'sweep.failed'))
          .finally(loop)
      }, intervalMs)
    }
    loop()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  /** One run over every lane. */
  async sweep(): Promise<void> {
    const now = await this.#options.ledger.now()
    const full = this.#runs++ % FULL_EVERY === 0
    for (const swept of this.#options.lanes) {
      await this.#expire(swept, now)
      await this.#giveUpLostClaims(swept, now)
      await this.#decideUncertain(swept, now)
      await this.#addLostJobs(swept, now, full)
    }
  }

  async #expire({ account, lane }: SweptLane, now: number): Promise<void> {
    const { ledger } = this.#options
    for (const id of await ledger.list(account.id, 'expiring', now, 0, PAGE)) {
      const { changed, generation } = await ledger.endWaiting(id, 'expired')
      if (changed) await lane.remove(jobIdOf(id, generation))
    }
  }

  async #giveUpLostClaims({ account, dependencies }: SweptLane, now: number): Promise<void> {
    const { ledger } = this.#options
    for (const id of await ledger.list(account.id, 'sending', now, 0, PAGE)) {
      const held = await ledger.currentClaim(id)
      if (held) await giveUpWhenLost(id, held, dependencies)
    }
  }

  async #decideUncertain({ account, lane }: SweptLane, now: number): Promise<void> {
    const { ledger, log } = this.#options
    const as = ({ hold: 'hold', fail: 'failed', resend: 'resend' } as const)[account.onUncertain]
    for (const id of await ledger.list(account.id, 'uncertain', now, 0, PAGE)) {
      const { changed, state, generation } = await ledger.resolve(id, as, true)
      if (!changed) continue
      log.info(
        { message: id.text, account: account.id, rule: account.onUncertain, state },
        'uncertain.decided',
      )
      if (state === 'queued') await this.#add(lane, id, generation, 0)
    }
  }

  async #addLostJobs(swept: SweptLane, now: number, full: boolean): Promise<void> {
    const { ledger } = this.#options
    const { account, lane } = swept
    const depths = await ledger.depths(account.id)
    const jobs = await lane.getJobCountByTypes('wait', 'prioritized', 'delayed', 'active')
    if (depths.waiting + depths.sending <= jobs && !full) return
    let offset = this.#offsets.get(account.id) ?? 0
    if (offset >= depths.waiting) offset = 0
    for (let seen = 0; seen < MOST; ) {
      const page = await ledger.list(account.id, 'waiting', '+inf', offset, PAGE)
      await Promise.all(page.map((id) => this.#mend(swept, id, now)))
      offset += page.length
      seen += page.length
      if (page.length < PAGE) {
        offset = 0
        break
      }
    }
    this.#offsets.set(account.id, offset)
  }

  /** Adds the job of one waiting message, if there is none that will run. */
  async #mend({ account, lane }: SweptLane, id: MessageId, now: number): Promise<void> {
    const { ledger, redis, log } = this.#options
    const record = await ledger.read(id)
    if (!record) return
    const [addedAt, finishedOn] = await redis.hmget(
      lane.toKey(jobIdOf(id, record.generation)),
      'timestamp',
      'finishedOn',
    )
    if (addedAt && !finishedOn) return
    let { generation, due } = record
    if (addedAt) {
      const next = await ledger.requeue(id, generation)
      if (!next) return
      generation = next.generation
      due = next.due
    }
    await this.#add(lane, id, generation, due - now)
    log.warn({ message: id.text, account: account.id, state: record.state, generation }, 'sweep.job_added')
  }

  async #add(lane: Lane, id: MessageId, generation: number, delayMs: number): Promise<void> {
    const { ledger } = this.#options
    const [record, content] = await Promise.all([ledger.read(id), ledger.content(id)])
    if (!record || content === null) return
    const { message, priority } = JSON.parse(content) as StoredContent
    await addToLane(lane, [
      { id, generation, to: record.to, type: message.type, reference: record.reference, priority, delayMs },
    ])
  }
}
