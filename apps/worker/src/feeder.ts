/**
 * Turns campaigns' rows into messages, as fast as the lanes take them and no faster: a lane holds about ten seconds of
 * bulk work, shared between its campaigns by weight. Any number of workers run this, one of them feeds at a time; the
 * ledger makes sure that rows are fed once, whoever else believes to be the one.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Account,
  addToLane,
  type CampaignRecord,
  type Campaigns,
  feedKey,
  type Lane,
  type LaneEntry,
  type Ledger,
  type Limiter,
} from '@wa-dispatch/dispatch'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { CampaignFeed } from './campaign-feed.ts'
import { doLaneWork, retireCampaign } from './campaign-work.ts'
import { Lease } from './lease.ts'
import { repeat } from './repeat.ts'
import { Shares } from './shares.ts'

export interface FedLane {
  account: Account
  lane: Lane
}

export interface FeederOptions {
  campaigns: Campaigns
  ledger: Ledger
  limiter: Limiter
  redis: Redis
  lanes: FedLane[]
  log: Logger
}

const TICK_MS = 200
/** Another feeds when the one who does has not been heard of for so long. */
const LEASE_MS = 2_000
/** What a lane holds of bulk work: enough for another to take over in, and little to take back on a pause. */
const SECONDS_AHEAD = 10
const LEAST_AHEAD = 100
const MOST_AHEAD = 20_000
/** In one round; a lane that takes more has another round at once. */
const MOST_IN_A_ROUND = 1_000
const ADDED_TOGETHER = 100
const SAMPLE_MS = 3_000
const SAMPLES_KEPT = 12
const FORGET_EVERY_MS = 60_000

export class Feeder {
  readonly #options: FeederOptions
  readonly #lease: Lease
  readonly #closing = new AbortController()
  readonly #shares = new Map<string, Shares>()
  readonly #feeds = new Map<string, CampaignFeed>()
  /** Long work of a campaign that is under way here, by its id. */
  readonly #working = new Map<string, Promise<void>>()
  #running: Promise<void> | undefined
  #forgotAt = 0
  readonly #forgetFrom = new Map<string, number>()

  constructor(options: FeederOptions) {
    this.#options = options
    this.#lease = new Lease(options.redis, feedKey, LEASE_MS)
  }

  start(): void {
    const onFault = (reason: string) => {
      this.#options.log.warn({ reason }, 'feed.failed')
      return TICK_MS
    }
    this.#running = repeat(this.#closing.signal, () => this.tick().then(() => TICK_MS), onFault)
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#running
    await Promise.all(this.#working.values())
    await this.#lease.release()
  }

  #isClosing(): boolean {
    return this.#closing.signal.aborted
  }

  /** One round over every lane, when it is this process that feeds. */
  async tick(): Promise<void> {
    if (!(await this.#lease.hold())) {
      this.#feeds.clear()
      return
    }
    await Promise.all(
      this.#options.lanes.map((lane) =>
        this.#tend(lane).catch((error: Error) => {
          this.#options.log.warn({ account: lane.account.id, reason: error.message }, 'feed.failed')
        }),
      ),
    )
    await this.#forget()
  }

  async #tend({ account, lane }: FedLane): Promise<void> {
    const { campaigns, ledger } = this.#options
    const numbers = await campaigns.active(account.id)
    if (numbers.length === 0) return
    const records = (
      await Promise.all(numbers.map((number) => campaigns.readNumber(ledger.numberOf(account.id), number)))
    ).filter((record) => record !== undefined)
    const now = await ledger.now()
    const hungry: CampaignRecord[] = []
    for (const record of records) {
      await this.#sample(record, now)
      if (await this.#moveOn(record, lane, now)) hungry.push(record)
    }
    while (!this.#isClosing() && (await this.#feed(account, lane, hungry)) && (await this.#lease.hold())) {
      // The lane took all that one round gives: there may be room for more.
    }
  }

  /** What time and the lane ask of a campaign. @returns whether it has rows for the lane */
  async #moveOn(record: CampaignRecord, lane: Lane, now: number): Promise<boolean> {
    const { campaigns } = this.#options
    const { id, definition, state } = record
    if (state === 'scheduled' && (definition.sendAt ?? 0) <= now) {
      await campaigns.act(id, 'due')
      return false
    }
    if (definition.expiresAt !== undefined && definition.expiresAt <= now && !record.unfedAs)
      await campaigns.act(id, 'expire')
    if (record.laneWork) {
      this.#work(record, () => doLaneWork(record, lane, this.#options, () => this.#isClosing()))
      return false
    }
    if (record.finishedAt !== undefined) {
      this.#work(record, () => retireCampaign(record, this.#options, () => this.#isClosing()))
      return false
    }
    if (isSettled(record)) {
      const { result } = await campaigns.act(id, 'finish')
      if (result === 'done') {
        this.#feeds.delete(id.text)
        this.#options.log.info({ campaign: id.text, ...record.counts }, 'campaign.finished')
      }
      return false
    }
    return state === 'running' && (record.retry !== undefined || hasRows(record))
  }

  /** Long work goes on beside the feeding; one piece a campaign. */
  #work({ id }: CampaignRecord, work: () => Promise<void>): void {
    if (this.#working.has(id.text)) return
    const running = work()
      .catch((error: Error) =>
        this.#options.log.warn({ campaign: id.text, reason: error.message }, 'feed.failed'),
      )
      .finally(() => this.#working.delete(id.text))
    this.#working.set(id.text, running)
  }

  /** Fills the lane from these campaigns. @returns whether another round may find more to do */
  async #feed(account: Account, lane: Lane, hungry: CampaignRecord[]): Promise<boolean> {
    if (hungry.length === 0) return false
    const waiting = await lane.getJobCountByTypes('wait', 'prioritized')
    const { perSecond } = await this.#options.limiter.read(account)
    const ahead = Math.min(Math.max(perSecond * SECONDS_AHEAD, LEAST_AHEAD), MOST_AHEAD)
    const room = Math.floor(Math.min(ahead - waiting, MOST_IN_A_ROUND))
    if (room <= 0) return false

    const shares = this.#shares.get(account.id) ?? new Shares()
    this.#shares.set(account.id, shares)
    const weights = new Map(hungry.map(({ id, definition }) => [id.text, definition.weight]))
    const order = shares.divide(weights, room)
    const wanted = new Map<string, number>()
    for (const id of order) wanted.set(id, (wanted.get(id) ?? 0) + 1)

    const fed = new Map<string, LaneEntry[]>()
    await Promise.all(
      hungry.map(async (record) => {
        const count = wanted.get(record.id.text) ?? 0
        if (count > 0) fed.set(record.id.text, await this.#takeFrom(record, account, count))
      }),
    )
    // In the order of the shares, so that the lane serves them finely mixed.
    const entries = order.flatMap((id) => fed.get(id)?.shift() ?? [])
    for (let from = 0; from < entries.length; from += ADDED_TOGETHER)
      await addToLane(lane, entries.slice(from, from + ADDED_TOGETHER))
    return entries.length === MOST_IN_A_ROUND
  }

  /** A campaign that cannot be fed keeps nothing from the others. */
  #takeFrom(record: CampaignRecord, account: Account, count: number): Promise<LaneEntry[]> {
    const { log } = this.#options
    return this.#feedOf(record, account)
      .take(count)
      .catch((error: Error) => {
        log.warn({ account: account.id, campaign: record.id.text, reason: error.message }, 'feed.failed')
        return []
      })
  }

  #feedOf(record: CampaignRecord, account: Account): CampaignFeed {
    const { text } = record.id
    let feed = this.#feeds.get(text)
    if (!feed) {
      feed = new CampaignFeed(record.id, account, this.#options)
      this.#feeds.set(text, feed)
    }
    return feed
  }

  /** From these the API tells how fast a campaign goes. */
  async #sample(record: CampaignRecord, now: number): Promise<void> {
    if (record.state !== 'running') return
    const { samples, counts, total } = record
    const last = samples.at(-1)
    if (last && now - last.at < SAMPLE_MS) return
    const { queued = 0, scheduled = 0, retrying = 0, sending = 0 } = counts
    const sample = { at: now, count: total - queued - scheduled - retrying - sending }
    await this.#options.campaigns.keepSamples(record.id, [...samples, sample].slice(-SAMPLES_KEPT))
  }

  async #forget(): Promise<void> {
    if (performance.now() - this.#forgotAt < FORGET_EVERY_MS) return
    this.#forgotAt = performance.now()
    for (const { account } of this.#options.lanes) {
      const from = this.#forgetFrom.get(account.id) ?? 0
      this.#forgetFrom.set(account.id, await this.#options.campaigns.forgetOld(account.id, from))
    }
  }
}

const hasRows = ({ fed, total, unfedAs }: CampaignRecord) => fed < total && unfedAs === undefined

/** Whether every row has its final state. */
function isSettled({ state, total, counts, retry }: CampaignRecord): boolean {
  if (state !== 'running' && state !== 'paused' && state !== 'cancelled') return false
  const { scheduled = 0, queued = 0, retrying = 0, sending = 0, uncertain = 0 } = counts
  if (total === 0 && state !== 'cancelled') return false
  return !retry && scheduled + queued + retrying + sending + uncertain === 0
}

/** A lane's worker may have to wait for Redis to come back; the process that ends does not. */
export const closeFeeder = (feeder: Feeder, withinMs: number): Promise<unknown> =>
  Promise.race([feeder.close().catch(() => undefined), sleep(withinMs)])
