/**
 * Tells receivers what became of messages: when a rule says so, in the provider's own shape, again where the receiver
 * is away or says no. A receipt that was acknowledged late may have been taken twice, as with every provider.
 */
import { systems } from '../systems/index.ts'
import { newWamid } from '../systems/request-ids.ts'
import type { ProviderName, System, Taken } from '../systems/system.ts'
import { type LoggedReceipt, ReceiptLog } from './log.ts'
import { createPoster, type PostAnswer, type Target } from './post.ts'
import { Reports } from './reports.ts'
import type { Plan, ReceiptRules } from './rules.ts'
import { Schedule } from './schedule.ts'
import type { SenderSettings } from './schema.ts'

/** A message that was taken, and where news of it goes; no target: nobody wants any. */
export interface Taking {
  provider: ProviderName
  account: string
  taken: Taken
  requestId: string
  target: Target | undefined
}

/** One body on its way, with the receipts in it. */
interface Parcel {
  receipts: LoggedReceipt[]
  body: string
}

/** A send whose first receipt is to go before its answer does not wait for a receiver longer than this. */
const earlyWaitMs = 2000

export class ReceiptOutbox {
  readonly rules: ReceiptRules
  readonly log: ReceiptLog
  readonly reports: Reports
  settings: SenderSettings
  readonly #poster = createPoster()
  readonly #fresh = new Schedule<LoggedReceipt>((due) => this.#ready(due))
  readonly #again = new Schedule<Parcel>((due) => {
    for (const parcel of due) this.#parcels.push(parcel)
    this.#pump()
  })
  #waiting: LoggedReceipt[] = []
  /** How many of `waiting` are gone. */
  #taken = 0
  #parcels: Parcel[] = []
  #inFlight = 0
  /** Grows with every clearing: what was in flight then is nobody's business afterwards. */
  #era = 0
  readonly #firstAttempts = new Map<LoggedReceipt, () => void>()

  constructor(rules: ReceiptRules, settings: SenderSettings, keptLimit: number) {
    this.rules = rules
    this.settings = settings
    this.log = new ReceiptLog(keptLimit)
    this.reports = new Reports(keptLimit)
  }

  /** How many requests are in flight now. */
  get inFlight(): number {
    return this.#inFlight
  }

  /**
   * Plans what is told of a message that was taken.
   * @returns where its send is to be answered after the first receipt: when that was answered, or could not be
   */
  accept({ provider, account, taken, requestId, target }: Taking): Promise<void> | undefined {
    let early: Promise<void> | undefined
    for (const recipient of taken.recipient.split(',')) {
      const plan = this.rules.plan({ provider, account, recipient, type: taken.type })
      if (plan === undefined) continue
      const message = { provider, account, requestId, recipient, reference: taken.reference }
      const first = this.#plan(plan, message, target)
      early ??= first
    }
    return early
  }

  clear(): void {
    this.#era += 1
    this.#fresh.clear()
    this.#again.clear()
    this.#waiting = []
    this.#taken = 0
    this.#parcels = []
    this.#inFlight = 0
    for (const go of this.#firstAttempts.values()) go()
    this.#firstAttempts.clear()
    this.log.clear()
    this.reports.clear()
  }

  close(): void {
    this.clear()
    this.#poster.close()
  }

  #plan(
    { rule, told }: Plan,
    message: Pick<LoggedReceipt, 'provider' | 'account' | 'requestId' | 'recipient' | 'reference'>,
    target: Target | undefined,
  ): Promise<void> | undefined {
    const now = Date.now()
    const start = performance.now()
    const wamid = newWamid()
    let early: Promise<void> | undefined
    for (const [index, one] of told.entries()) {
      const { status, code, message: text, wrongToken = false } = one
      const silent = one.silent === true || target === undefined
      const receipt = this.log.add({
        ...message,
        wamid,
        status,
        code,
        message: text,
        atMs: now + Math.round(one.happensInMs),
        target: wrongToken && target ? withWrongToken(target) : (target ?? nowhere),
        wrongToken,
        together: rule.together,
        state: silent ? 'silent' : 'pending',
      })
      if (!wrongToken) this.reports.note(receipt)
      if (silent) continue
      if (rule.early && index === 0) {
        early = this.#firstAttempt(receipt)
        this.#waiting.push(receipt)
        this.#pump()
      } else this.#fresh.add(onTheBeat(start + one.toldInMs, rule.burstMs), receipt)
    }
    return early
  }

  #firstAttempt(receipt: LoggedReceipt): Promise<void> {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer)
        this.#firstAttempts.delete(receipt)
        resolve()
      }
      const timer = setTimeout(go, earlyWaitMs)
      this.#firstAttempts.set(receipt, go)
    })
  }

  #ready(due: LoggedReceipt[]): void {
    for (const receipt of due) this.#waiting.push(receipt)
    this.#pump()
  }

  #pump(): void {
    while (this.#inFlight < this.settings.inFlight) {
      const parcel = this.#parcels.shift() ?? this.#pack()
      if (parcel === undefined) return
      this.#send(parcel)
    }
  }

  /** Takes the next receipt and those right behind it that may go into the same body. */
  #pack(): Parcel | undefined {
    const first = this.#waiting[this.#taken]
    if (first === undefined) return undefined
    const system: System = systems[first.provider]
    const receipts = [first]
    this.#taken += 1
    while (receipts.length < first.together) {
      const next = this.#waiting[this.#taken]
      if (next === undefined || !mayJoin(system, first, next)) break
      receipts.push(next)
      this.#taken += 1
    }
    if (this.#taken === this.#waiting.length || this.#taken > 10_000) {
      this.#waiting.splice(0, this.#taken)
      this.#taken = 0
    }
    return { receipts, body: system.receipts?.body(receipts) ?? '' }
  }

  #send(parcel: Parcel): void {
    this.#inFlight += 1
    const era = this.#era
    const { target } = parcel.receipts[0]!
    const startedAt = performance.now()
    this.#poster.post(target, parcel.body, this.settings.timeoutMs).then((answer) => {
      if (era !== this.#era) return
      this.#inFlight -= 1
      this.#ended(parcel, answer, performance.now() - startedAt)
      this.#pump()
    })
  }

  #ended(parcel: Parcel, answer: PostAnswer, tookMs: number): void {
    const acknowledged = typeof answer === 'number' && answer >= 200 && answer < 300
    const { wrongToken, attempts } = parcel.receipts[0]!
    const delayMs = wrongToken ? undefined : this.settings.retryDelaysMs[attempts]
    for (const receipt of parcel.receipts) {
      this.log.answered(receipt, answer, tookMs)
      this.#firstAttempts.get(receipt)?.()
      if (acknowledged) this.log.end(receipt, 'acknowledged')
      else if (delayMs === undefined) this.log.end(receipt, 'given-up')
    }
    if (!acknowledged && delayMs !== undefined) this.#again.add(performance.now() + delayMs, parcel)
  }
}

const nowhere: Target = { url: '', headers: {} }

function onTheBeat(atMs: number, burstMs: number | undefined): number {
  return burstMs === undefined ? atMs : Math.ceil(atMs / burstMs) * burstMs
}

function mayJoin({ receipts }: System, first: LoggedReceipt, next: LoggedReceipt): boolean {
  if (receipts === undefined || receipts.bundles === 'never') return false
  if (next.account !== first.account || next.provider !== first.provider) return false
  if (next.target.url !== first.target.url || next.wrongToken !== first.wrongToken) return false
  return (
    receipts.bundles === 'any' || (next.requestId === first.requestId && next.recipient === first.recipient)
  )
}

/** A token one character longer than the right one, wherever it stands; none at all where there is none. */
function withWrongToken({ url, headers }: Target): Target {
  const address = new URL(url)
  const token = address.searchParams.get('token')
  if (token !== null) address.searchParams.set('token', `${token}x`)
  const names = Object.keys(headers).filter((name) => name.toLowerCase() === 'x-receipt-token')
  return {
    url: address.href,
    headers: { ...headers, ...Object.fromEntries(names.map((name) => [name, `${headers[name]}x`])) },
  }
}
