/**
 * The way in: messages are stored in the ledger, then their jobs go on the lane. Only the first decides whether a
 * message is accepted; a job that could not be added is added by the sweeper. What arrives together is stored
 * together: one script and one pipeline for all messages of an account in one turn of the event loop.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Content, isIdempotent, type Provider, providers } from '@wa-dispatch/providers'
import type { Logger } from 'pino'
import type { Account } from './accounts.ts'
import { addToLane, type Lane, type LaneEntry, type Priority } from './lanes.ts'
import type { Ledger, MessageId, MessageState } from './ledger/index.ts'
import type { MessageRequest } from './message.ts'

/** What is wrong with a request, by its path in the request. */
export interface RequestIssue {
  path: (string | number)[]
  message: string
}

/** What the ledger keeps of a message until it is final. */
export interface StoredContent {
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

/** How many messages one script stores: about a millisecond of Redis' time. */
const BATCH = 100
const LONGEST_WAIT_MS = 365 * 86_400_000

export class Intake {
  readonly #options: IntakeOptions
  readonly #arrivals = new Map<string, Arrival[]>()
  /** Jobs that are stored and on their way to a lane. */
  #adding = 0

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
      const together = this.#arrivals.get(account)
      if (together) together.push(arrival)
      else {
        this.#arrivals.set(account, [arrival])
        setImmediate(() => this.#flush(account))
      }
    })
  }

  /** Waits, for a while, until the jobs of what was accepted are on their lanes; the sweeper adds what is not. */
  async close(): Promise<void> {
    for (let round = 0; round < 100 && (this.#adding > 0 || this.#arrivals.size > 0); round++) await sleep(20)
  }

  #flush(account: string): void {
    const arrivals = this.#arrivals.get(account) ?? []
    this.#arrivals.delete(account)
    for (let from = 0; from < arrivals.length; from += BATCH) {
      void this.#store(account, arrivals.slice(from, from + BATCH))
    }
  }

  async #store(account: string, arrivals: Arrival[]): Promise<void> {
    let accepted: { state: MessageState; due: number }[]
    try {
      accepted = await this.#options.ledger.accept(
        account,
        arrivals.map(({ id, request }) => newMessage(id, request)),
      )
    } catch (error) {
      for (const { reject } of arrivals) reject(error)
      return
    }
    const entries: LaneEntry[] = []
    for (const [index, { id, request, resolve }] of arrivals.entries()) {
      const { state, due } = accepted[index]!
      resolve(state)
      if (state === 'queued' || state === 'scheduled') {
        entries.push(laneEntry(id, request, state === 'scheduled' ? due - Date.now() : 0))
      }
    }
    await this.#add(account, entries)
  }

  /** Never rejects: what is stored is accepted, whatever becomes of its job. */
  async #add(account: string, entries: LaneEntry[]): Promise<void> {
    this.#adding++
    try {
      const lane = this.#options.lanes.get(account)
      if (lane) await addToLane(lane, entries)
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      this.#options.log.warn(
        { account, count: entries.length, reason },
        'lane.add_failed: the sweeper will add them',
      )
    } finally {
      this.#adding--
    }
  }
}

function newMessage(id: MessageId, request: MessageRequest) {
  const stored: StoredContent = { message: request.message, priority: request.priority }
  return {
    id,
    to: request.to,
    content: JSON.stringify(stored),
    idempotent: isIdempotent(request.message),
    reference: request.reference,
    sendAt: request.send_at?.getTime(),
    expiresAt: request.expires_at?.getTime(),
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
