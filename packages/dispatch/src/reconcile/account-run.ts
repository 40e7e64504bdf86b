/**
 * Looks through all messages of an account, single ones and those of campaigns alike: they have consecutive places in
 * the ledger, so one walk over its buckets meets them all. It goes slowly, and keeps where it stands and what it has
 * found, so that another worker goes on where one died.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type Ledger, SLOTS } from '../ledger/index.ts'
import { Buckets } from './buckets.ts'
import { type Found, Inspection, mendedOf, nothingFound, type ReconcileTools } from './inspection.ts'
import type { MendedLane } from './mend.ts'

/** What the last run over an account found; times are milliseconds since 1970. */
export interface Reconciliation {
  startedAt: number
  /** When it ended. */
  at: number
  lookedAt: number
  unheard: number
  uncertain: number
  mended: number
  asked: number
}

/** A run that is going on. */
interface Progress {
  startedAt: number
  /** The next bucket, and the one to stop before. */
  cursor: number
  to: number
  /** The first bucket that was there, so that the next run need not begin before it. */
  first?: number
  /** Began with the very first place. */
  whole: boolean
  found: Found
}

/** Between runs: where the next one begins, and when one began with the very first place. */
interface Beginning {
  from: number
  wholeAt: number
}

export interface AccountRunOptions {
  afterMs: number
  /** A run begins when the last one began so long ago. */
  everyMs: number
  /** Asked now and then whether to go on: the lock may be lost, the worker may be closing. */
  goesOn: () => Promise<boolean>
}

/** Buckets read together: their messages take about a millisecond of Redis' time, and as much of ours. */
const TOGETHER = 16
const PAUSE_MS = 15
/** Buckets that one command asks for: gone ones are skipped so many at a time. */
const SKIPPED_TOGETHER = 512
const SKIPS_A_PAUSE = 5
/** Progress is kept every so many pages. */
const PAGES_KEPT = 20
/**
 * Places before the first that is in use may come into use: those that a draft's rows or a quiet API process were given
 * long ago. So once a day a run begins with the very first.
 */
const WHOLE_EVERY_MS = 86_400_000

export class AccountRuns {
  readonly #redis: Redis
  readonly #tools: ReconcileTools

  constructor(redis: Redis, tools: ReconcileTools) {
    this.#redis = redis
    this.#tools = tools
  }

  /**
   * Begins a run over this account when it is time, or goes on with one, and brings it to its end.
   * @returns what it found; undefined when it is not time, or it was told not to go on
   */
  async tend(lane: MendedLane, options: AccountRunOptions): Promise<Reconciliation | undefined> {
    const { ledger } = this.#tools
    const { id } = lane.account
    const state = await this.#redis.hgetall(ledger.keysOf(id).reconciliation)
    const now = await ledger.now()
    let progress = parsed<Progress>(state.run)
    if (!progress) {
      const last = parsed<Reconciliation>(state.last)
      if (last && now < last.startedAt + options.everyMs) return undefined
      progress = await this.#begin(id, now, parsed<Beginning>(state.next))
    }
    if (!(await this.#walk(lane, progress, options))) return undefined
    return this.#end(id, progress, parsed<Beginning>(state.next))
  }

  async #begin(account: string, now: number, next: Beginning = { from: 0, wholeAt: 0 }): Promise<Progress> {
    const whole = now - next.wholeAt >= WHOLE_EVERY_MS
    return {
      startedAt: now,
      cursor: whole ? 0 : Math.min(next.from, await this.#firstOfCampaigns(account)),
      to: await this.#buckets(account).end(),
      whole,
      found: nothingFound(),
    }
  }

  /** Rows that are fed now may have got their places long ago. */
  async #firstOfCampaigns(account: string): Promise<number> {
    const { campaigns, ledger } = this.#tools
    const numbers = await campaigns.active(account)
    const keys = ledger.keysOf(account)
    const firsts = await Promise.all(
      numbers.map((number) => this.#redis.zrange(`${keys.campaign(number)}:c`, '0', '0', 'WITHSCORES')),
    )
    const sequences = firsts.flatMap(([, score]) => (score === undefined ? [] : Number(score)))
    return sequences.reduce((least, sequence) => Math.min(least, Math.floor(sequence / SLOTS)), Infinity)
  }

  /** @returns false when it was told not to go on */
  async #walk(lane: MendedLane, progress: Progress, options: AccountRunOptions): Promise<boolean> {
    const { account } = lane
    const buckets = this.#buckets(account.id)
    const limits = { afterMs: options.afterMs, mostListed: 0 }
    const inspection = new Inspection(this.#tools, lane, limits, progress.found)
    let pages = 0
    while (progress.cursor < progress.to) {
      const { cursor, to } = progress
      const span = Math.min(to, after(cursor, SKIPPED_TOGETHER))
      // Asked once a span, and where this walk begins.
      const isGone =
        (pages === 0 || cursor % SKIPPED_TOGETHER === 0) && (await buckets.existing(cursor, span)) === 0
      if (isGone) progress.cursor = span
      else {
        progress.cursor = Math.min(to, after(cursor, TOGETHER))
        const read = await buckets.read(cursor, progress.cursor)
        const first = read.findIndex(({ length }) => length > 0)
        if (first >= 0) progress.first ??= cursor + first
        await inspection.look(read.flat())
      }
      if (++pages % PAGES_KEPT === 0 && !(await this.#keep(account.id, progress, options))) return false
      if (!isGone || pages % SKIPS_A_PAUSE === 0) await sleep(PAUSE_MS)
    }
    return this.#keep(account.id, progress, options)
  }

  async #keep(account: string, progress: Progress, { goesOn }: AccountRunOptions): Promise<boolean> {
    if (!(await goesOn())) return false
    await this.#redis.hset(this.#key(account), 'run', JSON.stringify(progress))
    return true
  }

  async #end(account: string, progress: Progress, before: Beginning | undefined): Promise<Reconciliation> {
    const { startedAt, whole, found, first = progress.to } = progress
    const last: Reconciliation = {
      startedAt,
      at: await this.#tools.ledger.now(),
      lookedAt: found.lookedAt,
      unheard: found.unheard.count,
      uncertain: found.uncertain.count,
      mended: mendedOf(found),
      asked: found.asked,
    }
    const next: Beginning = { from: first, wholeAt: whole ? startedAt : (before?.wholeAt ?? 0) }
    await this.#redis
      .multi()
      .hset(this.#key(account), 'last', JSON.stringify(last), 'next', JSON.stringify(next))
      .hdel(this.#key(account), 'run')
      .exec()
    return last
  }

  #key(account: string): string {
    return this.#tools.ledger.keysOf(account).reconciliation
  }

  #buckets(account: string): Buckets {
    return new Buckets(this.#redis, this.#tools.ledger, account)
  }
}

/** @returns what the last run over the account found; undefined before the first one ended */
export async function readReconciliation(
  ledger: Ledger,
  redis: Redis,
  account: string,
): Promise<Reconciliation | undefined> {
  return parsed<Reconciliation>(await redis.hget(ledger.keysOf(account).reconciliation, 'last'))
}

/** @returns the next multiple of `size` behind a number */
const after = (number: number, size: number): number => (Math.floor(number / size) + 1) * size

const parsed = <Value>(text: string | null | undefined): Value | undefined =>
  text ? (JSON.parse(text) as Value) : undefined
