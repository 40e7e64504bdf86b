/**
 * An account's limits, obeyed by all workers together, and its breaker. Two layers:
 *
 * - BullMQ's own limiter in short windows keeps workers from pulling more jobs than they could send
 *   ({@link fetchWindow}); a fixed window alone would let twice its size pass around its edge.
 * - The limiter gives each attempt an instant of its own, evenly spaced, by Redis' clock, in every scope of it:
 *   the account, the accounts that share a limit, and the pair of sender and recipient.
 *
 * A provider that says that it is too much lowers the scope at once, and it climbs back by itself; one that says that
 * sending is pointless opens the breaker, and single probes find out when it is not.
 */
import { readFileSync } from 'node:fs'
import type { Redis } from 'ioredis'
import { RedisClock } from './redis-clock.ts'

/** Whose limits they are, as accounts.json has them. */
export interface LimitedAccount {
  id: string
  rateLimit: {
    perSecond: number
    pairPerMinute?: number | undefined
    /** Of all accounts that name it together, such as those on one credential. */
    shared?: { name: string; perSecond: number } | undefined
  }
  timeoutMs: number
  /** Waits before the first, second, … probe of an open breaker; milliseconds. */
  breaker: { probeDelaysMs: number[] }
}

/** What an attempt may do. */
export type Turn =
  /**
   * Go at this instant, milliseconds since 1970 by Redis' clock, which is in so many milliseconds, or was so long ago if
   * they are negative; a probe tells whether the breaker can close.
   */
  | { kind: 'go'; atMs: number; waitMs: number; probe: boolean }
  /** Too far away to wait for it in a slot: leave the lane alone for so long. */
  | { kind: 'rest'; forMs: number }
  /** Only this recipient has to wait; its turn is given and has not to be asked for again. */
  | { kind: 'pair'; inMs: number }
  /** Nothing may be sent, not even by who has its instant: the breaker is open, or the provider asked for a rest. */
  | { kind: 'shut'; forMs: number }

/** Why a breaker is open. */
export interface BreakerReason {
  code: string
  kind: string
  message: string
}

/** What holds for an account now; times are milliseconds since 1970. */
export interface Limits {
  /** What is allowed at the moment. */
  perSecond: number
  /** What it climbs back to. */
  configuredPerSecond: number
  pairPerMinute?: number
  loweredSince?: number
  breaker:
    | { state: 'closed' }
    | { state: 'open' | 'half-open'; since: number; nextProbeAt: number; reason: BreakerReason }
}

export type ThrottledScope = 'account' | 'provider' | 'pair'

/** Between what we send and what arrives lies a little jitter: this keeps it from adding up to more than the limit. */
const MARGIN = 0.02
/** How much of a hiccup may be made up for where instants lie so close that a timer misses them. */
const SLACK_MS = 10
/** WhatsApp lets so many messages to one recipient go at once, borrowed from later ("pair rate limit"). */
const PAIR_BURST = 45
/** A probe that said nothing about why the breaker is open is followed by another one. */
const REPROBE_MS = 1_000

const scripts = ['reserve', 'throttled', 'trip', 'observe', 'heal', 'reprobe', 'read', 'configure'] as const
type ScriptName = (typeof scripts)[number]
type Argument = string | number

const source = (name: string) => readFileSync(new URL(`${name}.lua`, import.meta.url), 'utf8')
const TURNS = ['go', 'probe', 'rest', 'pair', 'shut'] as const

interface Asker {
  /** '' when the pair's turn was given before. */
  to: string
  resolve(turn: Turn): void
  reject(error: unknown): void
}

export class Limiter {
  readonly #redis: Redis
  readonly #asking = new Map<string, Asker[]>()
  readonly #clock = new RedisClock()

  /** @param redis shared by all processes whose attempts count together */
  constructor(redis: Redis) {
    this.#redis = redis
    for (const name of scripts)
      redis.defineCommand(`limiter-${name}`, { lua: `${source('common')}\n${source(name)}`, numberOfKeys: 1 })
  }

  #run<Reply>(name: ScriptName, account: LimitedAccount, ...args: Argument[]): Promise<Reply> {
    const { perSecond, shared, pairPerMinute = '' } = account.rateLimit
    const commands = this.#redis as unknown as Record<string, (...args: Argument[]) => Promise<Reply>>
    const limits = [account.id, perSecond, shared?.perSecond ?? '', pairPerMinute, PAIR_BURST]
    return commands[`limiter-${name}`]!(tagOf(account), ...limits, ...args)
  }

  /**
   * Asks for the next free instant. Who asks in the same tick is served by one script.
   * @param to the recipient; undefined when its turn was given before (a {@link Turn} of kind `pair`)
   */
  reserve(account: LimitedAccount, to: string | undefined): Promise<Turn> {
    return new Promise((resolve, reject) => {
      const asker: Asker = { to: to ?? '', resolve, reject }
      const together = this.#asking.get(account.id)
      if (together) together.push(asker)
      else {
        this.#asking.set(account.id, [asker])
        process.nextTick(() => void this.#serve(account))
      }
    })
  }

  async #serve(account: LimitedAccount): Promise<void> {
    const askers = this.#asking.get(account.id) ?? []
    this.#asking.delete(account.id)
    const lengths = [SLACK_MS, account.timeoutMs + REPROBE_MS].map((ms) => ms * 1_000)
    try {
      const recipients = askers.map(({ to }) => to)
      const replies = await this.#run<number[]>('reserve', account, MARGIN, ...lengths, ...recipients)
      const toldAtMs = replies[0]! / 1_000
      const agoMs = this.#clock.ageOf(toldAtMs, performance.now())
      for (const [index, { resolve }] of askers.entries())
        resolve(turnOf(replies[2 * index + 1]!, replies[2 * index + 2]! / 1_000, toldAtMs, agoMs))
    } catch (error) {
      for (const { reject } of askers) reject(error)
    }
  }

  /**
   * The provider said that it is too much: the scope is lowered at once and rests.
   * @param startedAgoMs since the attempt began: what was under way when the limit was lowered lowers it no further
   */
  async throttled(
    account: LimitedAccount,
    scope: ThrottledScope,
    to: string,
    startedAgoMs: number,
    restMs: number,
  ): Promise<void> {
    const times = [startedAgoMs, restMs].map((ms) => Math.round(ms * 1_000))
    await this.#run('throttled', account, scope, to, ...times)
  }

  /**
   * The provider said that sending is pointless.
   * @param reason undefined for a probe that came to nothing: why the breaker is open stays as it is
   * @returns whether the breaker was closed before
   */
  async trip(
    account: LimitedAccount,
    reason: BreakerReason | undefined,
    wasProbe: boolean,
  ): Promise<boolean> {
    const args = [reason ? JSON.stringify(reason) : '', wasProbe ? 1 : 0, ...account.breaker.probeDelaysMs]
    return (await this.#run<number>('trip', account, ...args)) === 1
  }

  /**
   * Adds attempts to those of the last half minute: when half of them, and of at least twenty, came to nothing, the
   * breaker opens.
   * @param lost attempts that were unavailable or uncertain
   * @returns whether it was opened now
   */
  async observe(account: LimitedAccount, lost: number, all: number, reason: BreakerReason): Promise<boolean> {
    const firstProbeMs = account.breaker.probeDelaysMs[0]!
    return (
      (await this.#run<number>('observe', account, JSON.stringify(reason), lost, all, firstProbeMs)) === 1
    )
  }

  /** The probe was accepted. @returns whether the breaker was open */
  async heal(account: LimitedAccount): Promise<boolean> {
    return (await this.#run<number>('heal', account)) === 1
  }

  /**
   * The probe told nothing about why the breaker is open: another one may go.
   * @param wasSent a probe that was not even sent is followed at once
   */
  async reprobe(account: LimitedAccount, wasSent: boolean): Promise<void> {
    await this.#run('reprobe', account, wasSent ? REPROBE_MS : 0)
  }

  /** @returns what holds now */
  async read(account: LimitedAccount): Promise<Limits> {
    const [perSecond, configured, pair, lowered, breaker, why, since, probeAt] = await this.#run<string[]>(
      'read',
      account,
    )
    return {
      perSecond: Number(perSecond),
      configuredPerSecond: Number(configured),
      ...(pair && { pairPerMinute: Number(pair) }),
      ...(lowered && { loweredSince: Number(lowered) }),
      breaker: breaker
        ? {
            state: breaker === '1' ? 'open' : 'half-open',
            since: Number(since),
            nextProbeAt: Number(probeAt),
            reason: JSON.parse(why!) as BreakerReason,
          }
        : { state: 'closed' },
    }
  }

  /**
   * Sets limits for everybody from now on; they survive a restart.
   * @param limits undefined leaves one as it is, null goes by accounts.json again
   */
  async configure(
    account: LimitedAccount,
    limits: { perSecond?: number | null | undefined; pairPerMinute?: number | null | undefined },
  ): Promise<void> {
    const argument = (value: number | null | undefined) => (value === undefined ? '-' : (value ?? ''))
    await this.#run('configure', account, argument(limits.perSecond), argument(limits.pairPerMinute))
  }
}

/** Accounts that share a limit share a slot of a cluster. An account's id holds no `+`. */
const tagOf = ({ id, rateLimit: { shared } }: LimitedAccount) => `wa:l:{${shared ? `+${shared.name}` : id}}`

/** @param agoMs how long ago the wait was told */
function turnOf(number: number, waitMs: number, toldAtMs: number, agoMs: number): Turn {
  const kind = TURNS[number - 1]!
  switch (kind) {
    case 'go':
    case 'probe':
      return { kind: 'go', atMs: toldAtMs + waitMs, waitMs: waitMs - agoMs, probe: kind === 'probe' }
    case 'pair':
      return { kind, inMs: waitMs }
    default:
      return { kind, forMs: Math.max(1, waitMs) }
  }
}

/** Several workers together do not fetch as fast as this: a window would only cost. */
const FASTER_THAN_WORKERS = 20_000

/** Another limit is not held up for longer by the window of the one before. */
const LONGEST_WINDOW_MS = 1_000

/**
 * The limit in a short window for BullMQ: about a tenth of a second, a tenth more than the limit,
 * since the instants are what really paces.
 * @returns undefined where no window is needed
 */
export function fetchWindow(perSecond: number): { max: number; durationMs: number } | undefined {
  if (perSecond >= FASTER_THAN_WORKERS) return undefined
  const max = Math.max(1, Math.round(perSecond / 10))
  const durationMs = Math.round((max / perSecond) * 1000 * 0.9)
  return { max, durationMs: Math.min(Math.max(1, durationMs), LONGEST_WINDOW_MS) }
}
