/**
 * The ledger is the outbox: what it holds and the lanes do not know is mended here. Running it at any time, in any
 * number of processes, is harmless; a lock only saves the work.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Account,
  type Campaigns,
  jobIdOf,
  type Ledger,
  type Limiter,
  type MendedLane,
  type Mender,
  type MessageId,
  prepareLane,
  sweepKey,
} from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { repeat } from './repeat.ts'

export interface SweeperOptions {
  ledger: Ledger
  campaigns: Campaigns
  limiter: Limiter
  mender: Mender
  redis: Redis
  lanes: MendedLane[]
  log: Logger
  intervalMs?: number
}

const PAGE = 500
/** A message that is so much overdue is looked at more closely. */
const LATE_MS = 30_000
/** At most so many messages of a lane are looked at in one run. */
const MOST = 5_000
/** Counts that agree can hide a lost job behind a superseded one: every so many runs all is looked at. */
const FULL_EVERY = 15
const LOOKS = 3
const BETWEEN_LOOKS_MS = 50

export class Sweeper {
  readonly #options: SweeperOptions
  readonly #offsets = new Map<string, number>()
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined
  #runs = 0

  constructor(options: SweeperOptions) {
    this.#options = options
  }

  start(): void {
    const { intervalMs = 2_000, redis, log } = this.#options
    const round = async () => {
      const mine = await redis.set(sweepKey, String(process.pid), 'PX', Math.round(intervalMs * 0.9), 'NX')
      if (mine === 'OK') await this.sweep()
      return intervalMs
    }
    this.#running = repeat(this.#closing.signal, round, (reason) => {
      log.warn({ reason }, 'sweep.failed')
      return intervalMs
    })
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
  }

  /** One run over every lane. */
  async sweep(): Promise<void> {
    const now = await this.#options.ledger.now()
    const full = this.#runs++ % FULL_EVERY === 0
    for (const swept of this.#options.lanes) {
      // Somebody may have emptied the lane, and its limit with it.
      if (full) await prepareLane(swept.lane, swept.account, this.#options.limiter)
      await this.#expire(swept, now)
      await this.#giveUpLostClaims(swept, now)
      await this.#decideUncertain(swept, now)
      await this.#addLostJobs(swept, now, full)
    }
  }

  async #expire({ account, lane }: MendedLane, now: number): Promise<void> {
    const { ledger } = this.#options
    for (let seen = 0; seen < MOST; ) {
      const page = await ledger.list(account.id, 'expiring', now, 0, PAGE)
      await Promise.all(
        page.map(async (id) => {
          const { changed, state, generation } = await ledger.endWaiting(id, 'expired')
          if (state === undefined) await ledger.forget(account.id, id)
          if (changed) await lane.remove(jobIdOf(id, generation))
        }),
      )
      seen += page.length
      if (page.length < PAGE) return
    }
  }

  async #giveUpLostClaims({ account }: MendedLane, now: number): Promise<void> {
    const { ledger, mender } = this.#options
    for (const id of await ledger.list(account.id, 'sending', now, 0, PAGE)) {
      const state = await mender.giveUpLostClaim(account, id)
      if (!state && !(await ledger.read(id))) await ledger.forget(account.id, id)
    }
  }

  async #decideUncertain({ account, lane }: MendedLane, now: number): Promise<void> {
    const { ledger, mender, log } = this.#options
    const as = ({ hold: 'hold', fail: 'failed', resend: 'resend' } as const)[account.onUncertain]
    for (const id of await ledger.list(account.id, 'uncertain', now, 0, PAGE)) {
      const { changed, state, generation } = await ledger.resolve(id, as, true)
      if (!changed) continue
      log.info(
        { message: id.text, account: account.id, rule: account.onUncertain, state },
        'uncertain.decided',
      )
      if (state === 'queued') await mender.addJob(lane, id, generation, 0)
    }
  }

  async #addLostJobs(swept: MendedLane, now: number, full: boolean): Promise<void> {
    const { account } = swept
    const lists = await this.#waitingLists(account)
    const missing = await this.#jobsAreMissing(swept, lists)
    if (!missing && !full) return
    let left = MOST
    for (const list of lists) left -= await this.#mendList(swept, list, now, missing, left)
  }

  /** The messages that wait and should have jobs: the account's own, and those of its campaigns that run. */
  async #waitingLists(account: Account): Promise<string[]> {
    const { ledger, campaigns } = this.#options
    const numbers = await campaigns.active(account.id)
    const records = await Promise.all(
      numbers.map((number) => campaigns.readNumber(ledger.numberOf(account.id), number)),
    )
    const running = records.filter((record) => record?.state === 'running' && !record.laneWork)
    return [ledger.keysOf(account.id).waiting, ...running.map((record) => campaigns.waitingKey(record!.id))]
  }

  /** Messages are on their way between the two counts; only what is missing each time is missing. */
  async #jobsAreMissing({ account, lane }: MendedLane, lists: string[]): Promise<boolean> {
    const { ledger, redis } = this.#options
    for (let look = 0; look < LOOKS; look++) {
      if (look > 0) await sleep(BETWEEN_LOOKS_MS)
      const waiting = await Promise.all(lists.map((list) => redis.zcard(list)))
      const { sending } = await ledger.depths(account.id)
      const jobs = await lane.getJobCountByTypes('wait', 'prioritized', 'delayed', 'active')
      if (waiting.reduce((sum, count) => sum + count, sending) <= jobs) return false
    }
    return true
  }

  /** Goes through a part of the list, the next part each time. @returns how many messages it has looked at */
  async #mendList(
    swept: MendedLane,
    list: string,
    now: number,
    missing: boolean,
    most: number,
  ): Promise<number> {
    const { ledger, redis } = this.#options
    const count = await redis.zcard(list)
    let offset = this.#offsets.get(list) ?? 0
    if (offset >= count) offset = 0
    let seen = 0
    while (seen < most) {
      const page = await ledger.listOf(list, '+inf', offset, PAGE)
      await Promise.all(page.map((id) => this.#mend(swept, list, id, now, missing)))
      offset += page.length
      seen += page.length
      if (page.length < PAGE) {
        offset = 0
        break
      }
    }
    if (offset > 0) this.#offsets.set(list, offset)
    else this.#offsets.delete(list)
    return seen
  }

  /** Adds the job of one waiting message, if there is none that will run. */
  async #mend(swept: MendedLane, list: string, id: MessageId, now: number, missing: boolean): Promise<void> {
    const { ledger, mender } = this.#options
    const record = await ledger.read(id)
    if (!record) return ledger.forget(swept.account.id, id, list)
    // A job may exist and stand in no list; to ask for that is dear, so only when it is late and jobs are missing.
    await mender.addMissingJob(swept, { id, record }, now, missing && record.due < now - LATE_MS)
  }
}
