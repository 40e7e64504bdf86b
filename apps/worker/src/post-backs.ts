/**
 * Tells callers what became of their messages: takes from the ledger's outbox what is due, sends it, writes down what
 * came of it. Nothing here can cause a message to be sent. Any number of workers run this; what one has taken the others
 * leave alone until its lease is over.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  DELIVERY_TIMEOUT_MS,
  type Deliverer,
  type Delivery,
  type DeliveryKind,
  type DeliveryRequest,
  eventBody,
  nextTry,
  type PostBack,
  type PostBackOutbox,
  type PostBackSettlement,
  ReceiverRooms,
} from '@wa-dispatch/dispatch'
import type { Logger } from 'pino'
import { repeat } from './repeat.ts'

/** What became of one try; `no-url`: nobody knows any more where it should have gone. */
export type PostBackOutcome = DeliveryKind | 'no-url'

export interface PostBackMetrics {
  postBackAttempted(account: string, outcome: PostBackOutcome, durationMs: number): void
  /** Given up. */
  postBackDead(account: string): void
}

export interface PostBacksOptions {
  accounts: string[]
  outbox: PostBackOutbox
  deliverer: Deliverer
  /** Where a campaign's post-backs go. @param campaign its number in the account */
  urlOf: (account: string, campaign: number) => Promise<string | undefined>
  metrics: PostBackMetrics
  log: Logger
  /** Under way at once, all receivers together. */
  most?: number
}

const MOST = 200
/** Of one account at a time, so that the others get their turn. */
const MOST_TAKEN = 100
const IDLE_MS = 200
const BUSY_MS = 20
const AFTER_FAULT_MS = 1_000
/** Whoever holds one longer is lost: four times as long as a call can take. */
const LEASE_MS = 4 * DELIVERY_TIMEOUT_MS
/** What is begun later could end after another has taken it. */
const LAST_BEGIN_MS = LEASE_MS - DELIVERY_TIMEOUT_MS - 5_000
const SETTLE_AGAIN_MS = 500
const URL_REMEMBERED_MS = 10_000
const MOST_URLS = 1_000
/** What may still have to be written down once the last call has ended; what is not is sent again. */
const LAST_WORDS_MS = 2_000
/** Stopping takes no longer. */
export const POST_BACKS_CLOSE_MS = DELIVERY_TIMEOUT_MS + LAST_WORDS_MS

export class PostBacks {
  readonly #options: PostBacksOptions
  readonly #rooms: ReceiverRooms
  readonly #sending = new Set<Promise<void>>()
  readonly #closing = new AbortController()
  readonly #urls = new Map<string, { until: number; url: Promise<string | undefined> }>()
  #running: Promise<void> | undefined
  #calling = 0
  #ended = false
  #turn = 0

  constructor(options: PostBacksOptions) {
    this.#options = options
    this.#rooms = new ReceiverRooms(options.most ?? MOST)
  }

  /** Tries under way in this process. */
  get inFlight(): number {
    return this.#rooms.inFlight
  }

  start(): void {
    const round = async () => {
      const busy = (await this.#takeRound()) || this.#ended
      this.#ended = false
      return busy ? BUSY_MS : IDLE_MS
    }
    this.#running = repeat(this.#closing.signal, round, (reason) => {
      this.#options.log.warn({ reason }, 'post_backs.failed')
      return AFTER_FAULT_MS
    })
  }

  /** Takes no more, and waits for the calls under way; at most {@link POST_BACKS_CLOSE_MS}, also without Redis. */
  async close(): Promise<void> {
    this.#closing.abort()
    const timer = new AbortController()
    const written = async () => {
      await this.#running
      await Promise.all(this.#sending)
    }
    const called = async () => {
      while (this.#calling > 0) await sleep(20)
      await sleep(LAST_WORDS_MS, undefined, { signal: timer.signal }).catch(() => undefined)
    }
    await Promise.race([written(), called()])
    timer.abort()
  }

  /** One look at every account, each time another one first. @returns whether anything was due */
  async #takeRound(): Promise<boolean> {
    const { accounts, outbox } = this.#options
    const first = this.#turn++ % Math.max(1, accounts.length)
    let any = false
    for (const account of [...accounts.slice(first), ...accounts.slice(0, first)]) {
      const { most, room, roomForOthers } = this.#rooms.rooms()
      if (most <= 0 || this.#closing.signal.aborted) break
      const takenAt = performance.now()
      const taken = await outbox.takePostBacks(
        account,
        Math.min(most, MOST_TAKEN),
        room,
        roomForOthers,
        LEASE_MS,
      )
      any ||= taken.length > 0
      for (const postBack of taken) this.#begin(account, postBack, takenAt)
    }
    return any
  }

  #begin(account: string, postBack: PostBack, takenAt: number): void {
    const { log } = this.#options
    const { id, event, receiver } = postBack
    this.#rooms.began(receiver)
    let well: boolean | undefined
    let durationMs = 0
    const sending = this.#send(account, postBack, takenAt, (outcome, tookMs) => {
      well = outcome === 'delivered'
      durationMs = tookMs
    })
      .catch((error: Error) => {
        // It comes back when its lease is over.
        log.warn({ message: id.text, account, event, reason: error.message }, 'post_back.failed')
      })
      .finally(() => {
        this.#rooms.ended(receiver, well, durationMs)
        this.#ended = true
        this.#sending.delete(sending)
      })
    this.#sending.add(sending)
  }

  async #send(
    account: string,
    postBack: PostBack,
    takenAt: number,
    tell: (outcome: PostBackOutcome, durationMs: number) => void,
  ): Promise<void> {
    const { metrics, log } = this.#options
    const { id, event, eventId, state, tries } = postBack
    const url = postBack.url ?? (await this.#urlOf(account, postBack.campaign))
    if (performance.now() - takenAt > LAST_BEGIN_MS) return
    const tried: Tried = url
      ? await this.#call({ url, eventId, body: eventBody(account, postBack) })
      : { kind: 'no-url', code: 'NO_URL', durationMs: 0 }
    const { kind, code, durationMs } = tried
    tell(kind, durationMs)
    metrics.postBackAttempted(account, kind, durationMs)
    const next = await untilWritten(() => this.#settle(postBack, tried), takenAt + LEASE_MS)

    if (next === 'dead') metrics.postBackDead(account)
    log[next === 'dead' ? 'warn' : 'info'](
      {
        message: id.text,
        account,
        event,
        state,
        host: url && hostOf(url),
        attempt: tries + 1,
        outcome: kind,
        code,
        duration_ms: durationMs,
        next: typeof next === 'string' ? next : 'again',
        next_in_ms: typeof next === 'string' ? undefined : next.inMs,
      },
      'post_back.attempted',
    )
  }

  async #call(request: DeliveryRequest): Promise<Delivery> {
    this.#calling++
    return this.#options.deliverer.deliver(request).finally(() => this.#calling--)
  }

  async #settle(postBack: PostBack, tried: Tried): Promise<PostBackSettlement['next']> {
    const { outbox } = this.#options
    const next = tried.kind === 'failed' ? await this.#again(postBack, tried) : follows[tried.kind]
    const { code, durationMs } = tried
    await outbox.settlePostBack(postBack.id, postBack.event, { code, durationMs, next })
    return next
  }

  async #again({ tries, firstTriedAt }: PostBack, { retryAfterMs }: Tried) {
    const sinceFirstTryMs = firstTriedAt === undefined ? 0 : (await this.#options.outbox.now()) - firstTriedAt
    return nextTry({ tries, sinceFirstTryMs, retryAfterMs }, Math.random())
  }

  /** Remembered for a while: a campaign's messages come together. */
  #urlOf(account: string, campaign: number): Promise<string | undefined> {
    const key = `${account} ${campaign}`
    const now = performance.now()
    const known = this.#urls.get(key)
    if (known && known.until > now) return known.url
    if (this.#urls.size >= MOST_URLS) this.#urls.clear()
    const url = this.#options.urlOf(account, campaign)
    this.#urls.set(key, { until: now + URL_REMEMBERED_MS, url })
    url.catch(() => this.#urls.delete(key))
    return url
  }
}

interface Tried {
  kind: PostBackOutcome
  code: string
  durationMs: number
  retryAfterMs?: number
}

const follows = {
  delivered: 'delivered',
  // Asking again would be asked for nothing: the receiver, or the operator's list, has said no.
  gone: 'dead',
  'refused-address': 'dead',
  'no-url': 'dead',
} satisfies Record<Exclude<PostBackOutcome, 'failed'>, PostBackSettlement['next']>

/** Without path and query, which may hold what only the caller should know. */
function hostOf(url: string): string | undefined {
  return URL.canParse(url) ? new URL(url).host : undefined
}

/** @param until by `performance.now()`: after it another may have taken the post-back */
async function untilWritten<T>(write: () => Promise<T>, until: number): Promise<T> {
  for (;;) {
    try {
      return await write()
    } catch (error) {
      if (performance.now() + SETTLE_AGAIN_MS > until) throw error
      await sleep(SETTLE_AGAIN_MS)
    }
  }
}
