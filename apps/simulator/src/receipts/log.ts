/** Every receipt there was or is to be: what it says, how often it was sent and how it was answered. */
import type { ProviderName } from '../systems/system.ts'
import type { PostAnswer, Target } from './post.ts'

/**
 * - pending: not yet answered with a 2xx, and still to be sent or in flight
 * - acknowledged: answered with a 2xx
 * - given-up: never answered with a 2xx
 * - silent: it happened, and nothing is sent
 */
export type ReceiptState = 'pending' | 'acknowledged' | 'given-up' | 'silent'

/** What one receipt says. */
export interface Told {
  requestId: string
  /** E.164 digits. */
  recipient: string
  /** What the provider echoes, or null. */
  reference: string | null
  wamid: string
  status: string
  code: number | string | undefined
  message: string | undefined
  /** When it happened, milliseconds since 1970. */
  atMs: number
}

export interface LoggedReceipt extends Told {
  seq: number
  provider: ProviderName
  account: string
  target: Target
  wrongToken: boolean
  together: number
  state: ReceiptState
  attempts: number
  /** Of the last attempt; null where none ended. */
  answer: PostAnswer | null
  /** When the last attempt ended, milliseconds since 1970. */
  answeredAtMs: number | null
}

interface Counts {
  receipts: number
  pending: number
  acknowledged: number
  'given-up': number
  silent: number
}

const slowestMs = 10_000

export class ReceiptLog {
  readonly #keptLimit: number
  #kept: LoggedReceipt[] = []
  /** Where in `kept` the first one is. */
  #start = 0
  #nextSeq = 1
  #byStatus = new Map<string, Counts>()
  #wrongToken = emptyCounts()
  #answers = new Map<string, number>()
  /** How many answers took so many milliseconds. */
  #latencies = new Uint32Array(slowestMs + 1)
  #pending = 0

  constructor(keptLimit: number) {
    this.#keptLimit = keptLimit
  }

  get pending(): number {
    return this.#pending
  }

  add(receipt: Omit<LoggedReceipt, 'seq' | 'attempts' | 'answer' | 'answeredAtMs'>): LoggedReceipt {
    const logged = { ...receipt, seq: this.#nextSeq++, attempts: 0, answer: null, answeredAtMs: null }
    this.#kept.push(logged)
    if (this.#kept.length - this.#start > this.#keptLimit) this.#dropOldest()
    const counts = this.#countsOf(logged)
    counts.receipts += 1
    counts[logged.state] += 1
    if (logged.state === 'pending') this.#pending += 1
    return logged
  }

  /** Notes an attempt's end. */
  answered(receipt: LoggedReceipt, answer: PostAnswer, tookMs: number): void {
    receipt.attempts += 1
    receipt.answer = answer
    receipt.answeredAtMs = Date.now()
    const name = String(answer)
    this.#answers.set(name, (this.#answers.get(name) ?? 0) + 1)
    const index = Math.min(slowestMs, Math.round(tookMs))
    this.#latencies[index]! += 1
  }

  /** Ends a pending receipt. */
  end(receipt: LoggedReceipt, state: 'acknowledged' | 'given-up'): void {
    const counts = this.#countsOf(receipt)
    counts.pending -= 1
    counts[state] += 1
    receipt.state = state
    this.#pending -= 1
  }

  /** The kept receipts from this number on, oldest first. */
  *from(seq: number): Generator<LoggedReceipt> {
    const firstSeq = this.#kept[this.#start]?.seq ?? 0
    const end = this.#kept.length
    for (let index = this.#start + Math.max(0, seq - firstSeq); index < end; index++) {
      const receipt = this.#kept[index]
      if (receipt !== undefined) yield receipt
    }
  }

  summary() {
    const all = emptyCounts()
    for (const counts of [...this.#byStatus.values(), this.#wrongToken]) {
      for (const name of Object.keys(all) as (keyof Counts)[]) all[name] += counts[name]
    }
    return {
      ...all,
      byStatus: Object.fromEntries(this.#byStatus),
      wrongToken: this.#wrongToken,
      answers: Object.fromEntries(this.#answers),
      answerMs: { p50: this.#percentile(0.5), p99: this.#percentile(0.99), max: this.#percentile(1) },
    }
  }

  /** Forgets everything. Sequence numbers go on, so that a cursor from before finds what came after. */
  clear(): void {
    this.#kept = []
    this.#start = 0
    this.#byStatus.clear()
    this.#wrongToken = emptyCounts()
    this.#answers.clear()
    this.#latencies.fill(0)
    this.#pending = 0
  }

  /** Those with another token count apart, so that the others' counts are what a receiver must have. */
  #countsOf({ status, wrongToken }: LoggedReceipt): Counts {
    if (wrongToken) return this.#wrongToken
    const known = this.#byStatus.get(status)
    if (known !== undefined) return known
    const counts = emptyCounts()
    this.#byStatus.set(status, counts)
    return counts
  }

  #percentile(share: number): number | null {
    const total = this.#latencies.reduce((sum, count) => sum + count, 0)
    if (total === 0) return null
    let left = Math.ceil(total * share)
    for (const [ms, count] of this.#latencies.entries()) {
      left -= count
      if (left <= 0) return ms
    }
    return slowestMs
  }

  #dropOldest(): void {
    this.#start += 1
    if (this.#start < 65_536) return
    this.#kept = this.#kept.slice(this.#start)
    this.#start = 0
  }
}

function emptyCounts(): Counts {
  return { receipts: 0, pending: 0, acknowledged: 0, 'given-up': 0, silent: 0 }
}
