/**
 * Receipts, from where the API has put them into the ledger. Any number of workers do it together, also for one account:
 * what the ledger makes of receipts does not depend on their order, nor on how often they come.
 */
import {
  isRedisAway,
  type Ledger,
  type LedgerReceipt,
  parseMessageId,
  type ReceiptEntry,
  type ReceiptQueue,
} from '@wa-dispatch/dispatch'
import type { Receipt, ReceiptReading } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import { repeat } from './repeat.ts'

/** An account whose provider sends receipts. */
export interface ReceiptAccount {
  id: string
  /** {@link Provider.readReceipts} of its provider. */
  read: (text: string) => ReceiptReading
}

export interface ReceiptMetrics {
  /**
   * @param matched whether it is about a message that is known by now
   * @param sinceArrivalMs from its arrival to its being applied
   */
  receiptApplied(account: string, status: string, matched: boolean, sinceArrivalMs: number): void
}

export interface ReceiptsOptions {
  queue: ReceiptQueue
  ledger: Pick<Ledger, 'applyReceipts' | 'now'>
  accounts: ReceiptAccount[]
  metrics: ReceiptMetrics
  log: Logger
  /** This process, among all that read the queue. */
  consumer: string
  timing?: Partial<typeof TIMING>
}

/** Milliseconds. */
const TIMING = {
  /** Between two looks at a queue that was empty. */
  idleMs: 200,
  /** Before the next try, where something is wrong. */
  afterFaultMs: 1_000,
  /** An entry takes milliseconds: whoever has had it for so long is dead, or could not get done with it. */
  takeOverAfterMs: 10_000,
  /** How often it is looked for such entries. */
  lookEveryMs: 3_000,
  /** A consumer that was silent for so long is gone, or makes itself known again. */
  forgetAfterMs: 300_000,
}

/** Receipts that one script applies: a few milliseconds of Redis' time. */
const MOST_TOGETHER = 100
/** How much is shown of a body that nobody can make sense of. */
const BEGINNING = 200

/** The status under which such a body is kept. */
const UNREADABLE = 'unreadable'

interface Arrived {
  receipt: LedgerReceipt
  arrivedAt: number
}

export class Receipts {
  readonly #options: ReceiptsOptions
  readonly #timing: typeof TIMING
  readonly #closing = new AbortController()
  #loops: Promise<void>[] = []

  constructor(options: ReceiptsOptions) {
    this.#options = options
    this.#timing = { ...TIMING, ...options.timing }
  }

  start(): void {
    this.#loops = this.#options.accounts.map((account) => this.#repeat(account))
  }

  /** Gets done with what is in hand. */
  async close(): Promise<void> {
    const { accounts, queue, consumer } = this.#options
    this.#closing.abort()
    await Promise.all(this.#loops)
    await Promise.allSettled(accounts.map(({ id }) => queue.leave(id, consumer)))
  }

  #repeat(account: ReceiptAccount): Promise<void> {
    const { idleMs, afterFaultMs, lookEveryMs } = this.#timing
    let lookedAt = 0
    const round = async () => {
      const look = performance.now() - lookedAt >= lookEveryMs
      const left = look && (await this.#applyLeftOver(account))
      // Where something was left over there may be more of it.
      if (look && !left) lookedAt = performance.now()
      const found = await this.#applyNext(account)
      return left || found ? 0 : idleMs
    }
    return repeat(this.#closing.signal, round, (reason) => {
      this.#options.log.warn({ account: account.id, reason }, 'receipts.not_applied')
      return afterFaultMs
    })
  }

  async #applyNext(account: ReceiptAccount): Promise<boolean> {
    const { queue, consumer } = this.#options
    return this.#apply(account, await queue.take(account.id, consumer))
  }

  /** What others did not get done with, and what this one did not. */
  async #applyLeftOver(account: ReceiptAccount): Promise<boolean> {
    const { queue, consumer } = this.#options
    const { takeOverAfterMs, forgetAfterMs } = this.#timing
    const entries = await queue.takeOver(account.id, consumer, takeOverAfterMs)
    if (entries.length === 0) await queue.removeConsumers(account.id, forgetAfterMs)
    return this.#apply(account, entries)
  }

  /** @returns false when there was nothing @throws when they could not be applied now; they come again */
  async #apply(account: ReceiptAccount, entries: ReceiptEntry[]): Promise<boolean> {
    if (entries.length === 0) return false
    const arrived = entries.flatMap(({ bodies, arrivedAt }) =>
      bodies.flatMap((body) =>
        this.#read(account, body, arrivedAt).map((receipt) => ({ receipt, arrivedAt })),
      ),
    )
    for (let from = 0; from < arrived.length; from += MOST_TOGETHER)
      await this.#applyTogether(account, arrived.slice(from, from + MOST_TOGETHER))
    await this.#options.queue.done(account.id, entries)
    return true
  }

  /** What a body says; where some of it, or all, cannot be read, it says that too. */
  #read({ id: account, read }: ReceiptAccount, body: string, arrivedAt: number): LedgerReceipt[] {
    const { log } = this.#options
    try {
      const { receipts, unreadable } = read(body)
      const found = receipts.map((receipt) => forLedger(receipt, arrivedAt))
      if (unreadable === 0) return found
      log.warn({ account, parts: unreadable }, 'receipt.unreadable')
      return [...found, unreadableReceipt(body, arrivedAt)]
    } catch (error) {
      log.error({ account, err: faultOf(error) }, 'receipt.unreadable')
      return [unreadableReceipt(body, arrivedAt)]
    }
  }

  async #applyTogether(account: ReceiptAccount, arrived: Arrived[]): Promise<void> {
    try {
      await this.#write(account, arrived)
    } catch (error) {
      if (isRedisAway(error)) throw error
      // One of them is more than our code can take: the others are not to wait for it.
      for (const one of arrived) await this.#applyAlone(account, one)
    }
  }

  async #applyAlone(account: ReceiptAccount, one: Arrived): Promise<void> {
    try {
      await this.#write(account, [one])
    } catch (error) {
      if (isRedisAway(error)) throw error
      this.#options.log.error({ account: account.id, err: faultOf(error) }, 'receipt.unreadable')
      const kept = unreadableReceipt(JSON.stringify(one.receipt), one.arrivedAt)
      await this.#write(account, [{ ...one, receipt: kept }])
    }
  }

  async #write({ id: account }: ReceiptAccount, arrived: Arrived[]): Promise<void> {
    const { ledger, metrics, log } = this.#options
    const receipts = arrived.map(({ receipt }) => receipt)
    // Asked for in one go: the time is that of the application, or just after.
    const [results, now] = await Promise.all([ledger.applyReceipts(account, receipts), ledger.now()])
    for (const [index, { receipt, arrivedAt }] of arrived.entries()) {
      const { id, state, moved } = results[index]!
      metrics.receiptApplied(account, receipt.status, id !== undefined, now - arrivedAt)
      const { status, error } = receipt
      log.debug({ account, message: id?.text, status, code: error?.code, state, moved }, 'receipt.applied')
    }
  }
}

/** A receipt as the ledger takes it; one that does not say when it happened happened when it came. */
function forLedger({ messageId, at, ...rest }: Receipt, arrivedAt: number): LedgerReceipt {
  const ours = messageId === undefined ? undefined : parseMessageId(messageId)
  return { ...rest, at: at ?? arrivedAt, untimed: at === undefined, ...(ours && { messageId: ours }) }
}

/** It names no message, so it is kept with those that match none. */
function unreadableReceipt(body: string, at: number): LedgerReceipt {
  const message = body.slice(0, BEGINNING).toWellFormed()
  // Reasons are kept with failures.
  return { status: UNREADABLE, state: 'failed', at, error: { code: 'UNREADABLE', message } }
}

/** Redis' errors hold the commands, and these hold messages and numbers. */
const faultOf = (error: unknown) => {
  const { name, message, stack } = error as Error
  return { type: name, message, stack }
}
