/**
 * Looks at messages, some at a time: counts their states, finds those of which nothing was heard and those whose outcome
 * nobody knows, mends what can be mended, and has the provider asked where it can be asked. It keeps counts and the
 * first few ids, however many messages it is shown.
 */
import { type Provider, providers } from '@wa-dispatch/providers'
import type { Account } from '../accounts.ts'
import type { CampaignRecord, Campaigns } from '../campaigns/index.ts'
import { type Ledger, type MessageRecord, type MessageState, WAITING } from '../ledger/index.ts'
import type { MendedLane, Mender, ReadMessage } from './mend.ts'
import type { Questions } from './questions.ts'

/** What both kinds of run work with. */
export interface ReconcileTools {
  ledger: Ledger
  campaigns: Campaigns
  mender: Mender
  questions: Questions
}

/** How many there are, and the first of them. */
export interface Listed<Item> {
  count: number
  items: Item[]
}

/** What was found; times are milliseconds since 1970. */
export interface Found {
  lookedAt: number
  states: Partial<Record<MessageState, number>>
  /** Submitted longer ago than it should take, and nothing was heard since. */
  unheard: Listed<string>
  uncertain: Listed<{ id: string; since: number }>
  /** They waited, and the lane had no job of theirs; it has one now. */
  withoutJob: Listed<string>
  /** Claims whose worker died, and the state that their messages have now. */
  lostClaims: Listed<{ id: string; state: MessageState }>
  /** Unheard ones that are on the list of questions. */
  asked: number
}

export const nothingFound = (): Found => ({
  lookedAt: 0,
  states: {},
  unheard: { count: 0, items: [] },
  uncertain: { count: 0, items: [] },
  withoutJob: { count: 0, items: [] },
  lostClaims: { count: 0, items: [] },
  asked: 0,
})

export const mendedOf = ({ withoutJob, lostClaims }: Found): number => withoutJob.count + lostClaims.count

export interface InspectionOptions {
  /** After so many milliseconds without a receipt a submitted message is unheard. */
  afterMs: number
  /** Ids of each kind that are kept. */
  mostListed: number
}

/** Between the ledger and the lane lies a moment in which a job is on its way. */
const ON_ITS_WAY_MS = 2_000
/** A message that is so much overdue is looked at more closely. */
const LATE_MS = 30_000
/** Jobs that one inspection looks for in the lane's lists. */
const MOST_LOOKED_FOR = 1_000
/** Providers' clocks, and times that are told in whole seconds. */
const CLOCKS_MS = 60_000

/** Whether anything is ever heard of messages of this account. */
export const hearsReceipts = (account: Account): boolean => providerOf(account).readReceipts !== undefined

/** Whether its provider can be asked. */
export const canBeAsked = (account: Account): boolean => providerOf(account).askReceipt !== undefined

const providerOf = ({ provider }: Account) => providers[provider as keyof typeof providers] as Provider

/** Whether nothing was heard of what became of it since it was sent the last time. */
export function isUnheard({ state, attempts, receipts }: MessageRecord): boolean {
  if (state !== 'submitted') return false
  const sentAt = attempts.at(-1)?.at ?? 0
  return !receipts.some(({ at }) => at >= sentAt - CLOCKS_MS)
}

/**
 * Whether asking by its request id tells of what was sent last. That id is the newest that the provider told, and where
 * an earlier attempt was heard of it may be that one's. An uncertain message has none of its own: had it been told one,
 * it would not be uncertain.
 */
export const isAskable = (record: MessageRecord): boolean =>
  isUnheard(record) && record.requestId !== undefined && record.receipts.length === 0

export class Inspection {
  readonly found: Found
  /** How many messages were moved by what was mended, `before after` → count. */
  readonly moves = new Map<`${MessageState} ${MessageState}`, number>()
  readonly #tools: ReconcileTools
  readonly #lane: MendedLane
  readonly #options: InspectionOptions
  #lookedFor = 0

  /** @param found where an earlier inspection stopped */
  constructor(tools: ReconcileTools, lane: MendedLane, options: InspectionOptions, found = nothingFound()) {
    this.#tools = tools
    this.#lane = lane
    this.#options = options
    this.found = found
  }

  /** Counts what is no message yet. */
  count(state: MessageState): void {
    this.found.lookedAt++
    this.found.states[state] = (this.found.states[state] ?? 0) + 1
  }

  /** Looks at messages that were read just now, a few hundred at most. */
  async look(messages: ReadMessage[]): Promise<void> {
    const { ledger, questions } = this.#tools
    const { account } = this.#lane
    if (messages.length === 0) return
    const now = await ledger.now()
    const toAsk: ReadMessage[] = []
    const waiting: ReadMessage[] = []
    const sending: ReadMessage[] = []
    for (const message of messages) {
      const { id, record } = message
      this.count(record.state)
      if (record.state === 'sending') sending.push(message)
      else if (record.state === 'uncertain')
        this.#list(this.found.uncertain, { id: id.text, since: record.updatedAt })
      else if (WAITING.includes(record.state)) {
        if (record.updatedAt <= now - ON_ITS_WAY_MS) waiting.push(message)
      } else if (this.#isOverdue(record, now)) {
        this.#list(this.found.unheard, id.text)
        if (isAskable(record)) toAsk.push(message)
      }
    }
    if (canBeAsked(account)) {
      const ids = toAsk.map(({ id }) => id)
      this.found.asked += await questions.put(account.id, ids, now)
    }
    await Promise.all(sending.map((message) => this.#giveUpWhenLost(message, now)))
    await this.#addMissingJobs(waiting, now)
  }

  #isOverdue(record: MessageRecord, now: number): boolean {
    if (!hearsReceipts(this.#lane.account) || record.updatedAt > now - this.#options.afterMs) return false
    return isUnheard(record)
  }

  async #giveUpWhenLost({ id }: ReadMessage, now: number): Promise<void> {
    const { mender, ledger } = this.#tools
    const { account } = this.#lane
    const state = await mender.giveUpLostClaim(account, id)
    if (!state) return
    this.#list(this.found.lostClaims, { id: id.text, state })
    const move = `sending ${state}` as const
    this.moves.set(move, (this.moves.get(move) ?? 0) + 1)
    // Its job may have gone with its worker.
    const record = WAITING.includes(state) ? await ledger.read(id) : undefined
    if (record) await mender.addMissingJob(this.#lane, { id, record }, now, false)
  }

  async #addMissingJobs(waiting: ReadMessage[], now: number): Promise<void> {
    const states = new Map<number, Promise<boolean>>()
    const shouldHaveJob = ({ campaign }: MessageRecord): Promise<boolean> => {
      const known = states.get(campaign) ?? this.#hasJobs(campaign)
      states.set(campaign, known)
      return known
    }
    await Promise.all(
      waiting.map(async (message) => {
        if (!(await shouldHaveJob(message.record))) return
        const thorough = message.record.due < now - LATE_MS && ++this.#lookedFor <= MOST_LOOKED_FOR
        if (await this.#tools.mender.addMissingJob(this.#lane, message, now, thorough))
          this.#list(this.found.withoutJob, message.id.text)
      }),
    )
  }

  /** Waiting messages of a campaign have jobs while it runs, and nothing is still to be done on its lane. */
  async #hasJobs(campaign: number): Promise<boolean> {
    if (campaign === 0) return true
    const { campaigns, ledger } = this.#tools
    const record = await campaigns.readNumber(ledger.numberOf(this.#lane.account.id), campaign)
    return record !== undefined && hasJobs(record)
  }

  #list<Item>(listed: Listed<Item>, item: Item): void {
    listed.count++
    if (listed.items.length < this.#options.mostListed) listed.items.push(item)
  }
}

const hasJobs = ({ state, laneWork }: CampaignRecord): boolean => state === 'running' && !laneWork
