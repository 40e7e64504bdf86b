/**
 * Asks providers what became of messages of which nothing was heard: one after the other for each account. A question
 * takes its turn at the account's limiter as a message does, so that the provider never sees more than its limit; while
 * messages wait, it takes few of the turns, and none while the breaker is open.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Account,
  askedAgainAt,
  isAskable,
  type Lane,
  type Ledger,
  type LedgerReceipt,
  type Limiter,
  MAXIMUM_REST_MS,
  type MessageId,
  type MessageRecord,
  type Questions,
} from '@wa-dispatch/dispatch'
import type { Http, Provider, ReceiptAnswer, ReceiptReading } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import type { ReceiptMetrics } from './receipts.ts'
import { repeat } from './repeat.ts'

/** An account whose provider can be asked. */
export interface AskedLane {
  account: Account
  lane: Lane
  ask: NonNullable<Provider['askReceipt']>
  /** When it was last heard that nothing may be sent, by `performance.now()`: the lane's own. */
  rest: { since: number }
}

export interface AskerOptions {
  questions: Questions
  ledger: Ledger
  limiter: Limiter
  http: Http
  lanes: AskedLane[]
  metrics: ReceiptMetrics
  log: Logger
  timing?: Partial<typeof TIMING>
}

/** Milliseconds. */
const TIMING = {
  /** Between two looks at a list that had nothing due. */
  idleMs: 1_000,
  /** What was taken by a worker that died is asked by another after the call's time-out and this. */
  leaseMs: 30_000,
  /** After an answer that says nothing of the message, such as none at all. */
  afterFailureMs: 30_000,
  /** A message about which such an answer came is asked about again. */
  failedAgainMs: 600_000,
  /** What to wait where the provider says that it is too much, and not for how long. */
  throttledMs: 5_000,
}

/** While messages wait, at most this share of the account's turns. */
const SHARE = 0.1
/** What an answer may still have to write when the worker ends. */
const LAST_WORDS_MS = 2_000
/** The breaker is looked at so often while it is open. */
const SHUT_MS = 5_000

export class Asker {
  readonly #options: AskerOptions
  readonly #timing: typeof TIMING
  readonly #closing = new AbortController()
  readonly #calls = new Set<Promise<ReceiptAnswer>>()
  #loops: Promise<void>[] = []

  constructor(options: AskerOptions) {
    this.#options = options
    this.#timing = { ...TIMING, ...options.timing }
  }

  start(): void {
    const { lanes, log } = this.#options
    this.#loops = lanes.map((lane) =>
      repeat(
        this.#closing.signal,
        () => this.#askNext(lane),
        (reason) => {
          log.warn({ account: lane.account.id, reason }, 'question.failed')
          return this.#timing.afterFailureMs
        },
      ),
    )
  }

  /** An answer that is on its way is waited for, a Redis that is away is not. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all(this.#calls)
    await Promise.race([Promise.all(this.#loops), sleep(LAST_WORDS_MS, undefined, { ref: false })])
  }

  #sleep(ms: number): Promise<unknown> {
    if (ms <= 0) return Promise.resolve()
    return sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  /** @returns in how many ms to go on */
  async #askNext(asked: AskedLane): Promise<number> {
    const { questions, ledger } = this.#options
    const { account } = asked
    const now = await ledger.now()
    const id = await questions.take(account.id, now, account.timeoutMs + this.#timing.leaseMs)
    if (!id) return this.#timing.idleMs
    const record = await ledger.read(id)
    if (!record || !isAskable(record)) {
      await questions.drop(account.id, id)
      return 0
    }
    const notNowMs = (await this.#leaveToMessages(asked)) ?? (await this.#takeTurn(asked))
    if (notNowMs === undefined) return this.#ask(asked, id, record)
    await questions.putOff(account.id, id, now)
    return notNowMs
  }

  /** While messages wait, all workers together ask seldom. @returns as below */
  async #leaveToMessages({ account, lane }: AskedLane): Promise<number | undefined> {
    if ((await lane.getJobCountByTypes('wait', 'prioritized')) === 0) return undefined
    const { perSecond } = await this.#options.limiter.read(account)
    const everyMs = Math.ceil(1_000 / (perSecond * SHARE))
    return (await this.#options.questions.isTime(account.id, everyMs)) ? undefined : everyMs
  }

  /** Waits for an instant to ask at. @returns undefined when it is there; else in how many ms to try again */
  async #takeTurn({ account, rest }: AskedLane): Promise<number | undefined> {
    const { limiter } = this.#options
    if ((await limiter.read(account)).breaker.state !== 'closed') return SHUT_MS
    const askedAt = performance.now()
    const turn = await limiter.reserve(account, undefined)
    if (turn.kind === 'rest' || turn.kind === 'shut') return Math.min(turn.forMs, SHUT_MS)
    if (turn.kind === 'pair') return turn.inMs
    if (turn.probe) {
      // It opened meanwhile; a message is to find out whether it can close.
      await limiter.reprobe(account, false)
      return SHUT_MS
    }
    await this.#sleep(turn.waitMs)
    if (this.#closing.signal.aborted || rest.since >= askedAt) return 1
    return undefined
  }

  /** @returns in how many ms to go on */
  async #ask({ account, ask, rest }: AskedLane, id: MessageId, record: MessageRecord): Promise<number> {
    const { http, limiter, ledger, questions, log } = this.#options
    const startedAt = performance.now()
    const call = ask(record.requestId!, { account, http })
    this.#calls.add(call)
    const answer = await call.finally(() => this.#calls.delete(call))
    const durationMs = performance.now() - startedAt
    const now = await ledger.now()
    log.info(
      { message: id.text, account: account.id, duration_ms: Math.round(durationMs), ...told(answer) },
      'question.asked',
    )
    switch (answer.answer) {
      case 'told':
        await this.#apply(account, id, answer.reading, now)
        // A word that nobody knows was heard too; one that was heard before is no news.
        if (isStillAskable(await ledger.read(id)))
          await questions.putOff(account.id, id, askedAgainAt(now, record.updatedAt))
        else await questions.drop(account.id, id)
        return 0
      case 'nothing':
        await questions.putOff(account.id, id, askedAgainAt(now, record.updatedAt))
        return 0
      case 'throttled': {
        const restMs = Math.min(answer.retryAfterMs ?? this.#timing.throttledMs, MAXIMUM_REST_MS)
        rest.since = performance.now()
        await limiter.throttled(account, 'account', '', durationMs, restMs)
        rest.since = performance.now()
        await questions.putOff(account.id, id, now + restMs)
        return restMs
      }
      case 'failed':
        await questions.putOff(account.id, id, now + this.#timing.failedAgainMs)
        return this.#timing.afterFailureMs
    }
  }

  async #apply(account: Account, id: MessageId, { receipts }: ReceiptReading, now: number): Promise<void> {
    const { ledger, metrics } = this.#options
    // The provider was asked about this message, whatever it says of ids.
    const heard = receipts.map(
      (receipt): LedgerReceipt => ({
        ...receipt,
        at: receipt.at ?? now,
        untimed: receipt.at === undefined,
        messageId: id,
      }),
    )
    const applied = await ledger.applyReceipts(account.id, heard)
    for (const [index, { status }] of heard.entries())
      metrics.receiptApplied(account.id, status, applied[index]!.id !== undefined, 0)
  }
}

const isStillAskable = (record: MessageRecord | undefined): boolean =>
  record !== undefined && isAskable(record)

const told = (answer: ReceiptAnswer) =>
  answer.answer === 'told'
    ? { answer: answer.answer, status: answer.reading.receipts.map(({ status }) => status) }
    : { answer: answer.answer, code: answer.code }
