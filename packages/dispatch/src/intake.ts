/**
 * The way in: messages are stored in the ledger, then their jobs go on the lane. Only the first decides whether a
 * message is accepted; a job that could not be added is added by the sweeper. What arrives while a script is under way
 * is stored together by the next one, and so are their jobs: the busier it is, the less a message costs.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Content, isIdempotent, type Provider, providers } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import type { Account } from './accounts.ts'
import { laneScript } from './lane-script.ts'
import { addToLane, type Lane, type LaneEntry, type Priority } from './lanes.ts'
import {
  type Accepted,
  type LaneScript,
  type Ledger,
  type MessageId,
  type MessageState,
  type NewMessage,
  SlotTakenError,
} from './ledger/index.ts'
import type { MessageRequest } from './message.ts'
import { receiverOf } from './post-backs/outbox.ts'

/** What is wrong with a request, by its path in the request. */
export interface RequestIssue {
  path: (string | number)[]
  message: string
}

/** What the ledger keeps of a message until it is final. */
export interface StoredContent {
  /** Whose it is: an account's number alone must never decide through whom something is sent. */
  account: string
  message: Content
  priority: Priority
}

export interface IntakeOptions {
  ledger: Ledger
  accounts: ReadonlyMap<string, Account>
  lanes: ReadonlyMap<string, Lane>
  log: Logger
}

interface Arrival {
  id: MessageId
  request: MessageRequest
  resolve: (state: MessageState) => void
  reject: (error: unknown) => void
}

/** Scripts that store, under way at a time: while Redis runs one, the next requests are read and the last ones answered. */
const STORES: Pace = { atOnce: 4, begins: 16, least: 100, most: 100 }
/** Scripts that add jobs: short ones, since those that store wait for them, and longer ones when they fall behind. */
const ADDS: Pace = { atOnce: 1, begins: 50, least: 20, most: 50 }
const LONGEST_WAIT_MS = 365 * 86_400_000

export class Intake {
  readonly #options: IntakeOptions
  readonly #stores = new Map<string, Gathering<Arrival>>()
  readonly #adds = new Map<string, Gathering<LaneEntry>>()

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /**
   * What a request's own schema cannot see: whether the account exists and its provider can carry the content.
   * @param now milliseconds since 1970
   */
  check(request: MessageRequest, now = Date.now()): RequestIssue[] {
    const account = this.#options.accounts.get(request.account)
    if (!account) {
      const known = [...this.#options.accounts.keys()].join(', ')
      return [{ path: ['account'], message: `there is no account "${request.account}"; there are: ${known}` }]
    }
    const provider = providers[account.provider as keyof typeof providers] as Provider
    const issues: RequestIssue[] = provider
      .refuse(request.message)
      .map(({ path, message }) => ({ path: ['message', ...path], message }))
    const { send_at: sendAt, expires_at: expiresAt } = request
    if (sendAt && sendAt.getTime() > now + LONGEST_WAIT_MS) {
      issues.push({ path: ['send_at'], message: 'is more than a year away' })
    }
    if (expiresAt && expiresAt.getTime() <= Math.max(now, sendAt?.getTime() ?? 0)) {
      issues.push({
        path: ['expires_at'],
        message: sendAt ? 'must be after send_at and now' : 'must be in the future',
      })
    }
    return issues
  }

  /**
   * Stores a checked message; its job follows. Repeating it with the same id is harmless.
   * @returns the state it has by now
   * @throws when it could not be stored: then it is not accepted
   */
  accept(id: MessageId, request: MessageRequest): Promise<{ id: string; state: MessageState }> {
    const { account } = request
    return new Promise((resolve, reject) => {
      const arrival: Arrival = { id, request, resolve: (state) => resolve({ id: id.text, state }), reject }
      const store = (arrivals: Arrival[]) => this.#store(account, arrivals)
      gatheringOf(this.#stores, account, STORES, store).add(arrival)
    })
  }

  /** Waits, for a while, until the jobs of what was accepted are on their lanes; the sweeper adds what is not. */
  async close(): Promise<void> {
    const busy = () => [...this.#stores.values(), ...this.#adds.values()].some((gathering) => gathering.busy)
    for (let round = 0; round < 100 && busy(); round++) await sleep(20)
  }

  /** What may be sent at once gets its job in the same script. */
  async #store(account: string, arrivals: Arrival[]): Promise<void> {
    const lane = this.#options.lanes.get(account)
    const script = lane && laneScript(lane)
    if (!script) return this.#storeThenAdd(account, arrivals)
    const atOnce = arrivals.filter(({ request }) => mayGoAtOnce(request))
    const others =
      atOnce.length === arrivals.length ? [] : arrivals.filter(({ request }) => !mayGoAtOnce(request))
    await Promise.all([this.#accept(account, atOnce, script), this.#storeThenAdd(account, others)])
  }

  /** @returns for each, whether it is stored; undefined when the whole of it failed. Those who wait are told. */
  async #accept(account: string, arrivals: Arrival[], onto?: LaneScript): Promise<Accepted[] | undefined> {
    if (arrivals.length === 0) return undefined
    const messages = arrivals.map(({ id, request }) => newMessage(id, request))
    try {
      const accepted = await this.#options.ledger.accept(account, messages, onto)
      for (const [index, { resolve, reject }] of arrivals.entries()) {
        const { state } = accepted[index]!
        if (state === undefined) reject(new SlotTakenError())
        else resolve(state)
      }
      return accepted
    } catch (error) {
      for (const { reject } of arrivals) reject(error)
      return undefined
    }
  }

  async #storeThenAdd(account: string, arrivals: Arrival[]): Promise<void> {
    const accepted = await this.#accept(account, arrivals)
    if (!accepted) return
    const add = (entries: LaneEntry[]) => this.#add(account, entries)
    const adds = gatheringOf(this.#adds, account, ADDS, add)
    for (const [index, { id, request }] of arrivals.entries()) {
      const { state, due } = accepted[index]!
      if (state === 'queued' || state === 'scheduled') {
        adds.add(laneEntry(id, request, state === 'scheduled' ? due - Date.now() : 0))
      }
    }
  }

  /** Never rejects: what is stored is accepted, whatever becomes of its job. */
  async #add(account: string, entries: LaneEntry[]): Promise<void> {
    try {
      const lane = this.#options.lanes.get(account)
      if (lane) await addToLane(lane, entries)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#options.log.warn(
        { account, count: entries.length, reason },
        'lane.add_failed: the sweeper will add them',
      )
    }
  }
}

interface Pace {
  /** Pieces of work under way at a time, at most. */
  atOnce: number
  /** As soon as there are so many items, work on them begins; fewer wait for what else this turn of the event loop brings. */
  begins: number
  /** Items in one piece of work: up to so many, and a quarter of those that wait when these are more. */
  least: number
  /** Items in one piece of work, at most: about a millisecond of Redis' time. */
  most: number
}

/** Does few pieces of work at a time, each for all that came in meanwhile; the first at once. */
class Gathering<Item> {
  readonly #pace: Pace
  readonly #work: (items: Item[]) => Promise<void>
  #items: Item[] = []
  #running = 0
  #planned = false

  /** @param work never rejects */
  constructor(pace: Pace, work: (items: Item[]) => Promise<void>) {
    this.#pace = pace
    this.#work = work
  }

  get busy(): boolean {
    return this.#running > 0 || this.#items.length > 0
  }

  add(item: Item): void {
    this.#items.push(item)
    if (this.#items.length === this.#pace.begins) process.nextTick(() => void this.#run())
    else this.#plan()
  }

  #plan(): void {
    if (this.#planned || this.#items.length === 0) return
    this.#planned = true
    setImmediate(() => {
      this.#planned = false
      void this.#run()
    })
  }

  async #run(): Promise<void> {
    const { atOnce, least, most } = this.#pace
    if (this.#running >= atOnce || this.#items.length === 0) return
    this.#running++
    const work = this.#work(this.#items.splice(0, Math.min(most, Math.max(least, this.#items.length / 4))))
    this.#plan()
    await work
    this.#running--
    this.#plan()
  }
}

function gatheringOf<Item>(
  gatherings: Map<string, Gathering<Item>>,
  account: string,
  pace: Pace,
  work: (items: Item[]) => Promise<void>,
): Gathering<Item> {
  let gathering = gatherings.get(account)
  if (!gathering) {
    gathering = new Gathering(pace, work)
    gatherings.set(account, gathering)
  }
  return gathering
}

/** Others wait for a time, or behind those without a priority: BullMQ has other scripts for them. */
const mayGoAtOnce = ({ send_at: sendAt, priority }: MessageRequest) =>
  sendAt === undefined && priority === 'transactional'

function newMessage(id: MessageId, request: MessageRequest): NewMessage {
  const { account, message, priority, post_back_url: url } = request
  const stored: StoredContent = { account, message, priority }
  return {
    id,
    to: request.to,
    content: JSON.stringify(stored),
    idempotent: isIdempotent(request.message),
    type: request.message.type,
    reference: request.reference,
    sendAt: request.send_at?.getTime(),
    expiresAt: request.expires_at?.getTime(),
    callback:
      url === undefined ? undefined : { receiver: receiverOf(url), url, data: request.post_back_data },
  }
}

const laneEntry = (
  id: MessageId,
  { to, message, reference, priority }: MessageRequest,
  delayMs: number,
): LaneEntry => ({
  id,
  generation: 0,
  to,
  type: message.type,
  reference,
  priority,
  delayMs,
})
