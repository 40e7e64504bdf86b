/**
 * The way in: a message is stored in the ledger, then its job goes on the lane. Only the first decides whether it
 * is accepted; a job that could not be added is added by the sweeper.
 */
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

/** How many jobs go to a lane in one call. */
const BATCH = 500

export class Intake {
  readonly #options: IntakeOptions
  readonly #waiting = new Map<string, { entry: LaneEntry; done: () => void }[]>()

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
    if (sendAt && sendAt.getTime() > now + 365 * 86_400_000) {
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
   * Stores a checked message and puts it on its lane. Repeating it with the same id is harmless.
   * @throws when it could not be stored: then it is not accepted
   */
  async accept(id: MessageId, request: MessageRequest): Promise<{ id: string; state: MessageState }> {
    const stored: StoredContent = { message: request.message, priority: request.priority }
    const { state, due } = await this.#options.ledger.accept({
      id,
      to: request.to,
      content: JSON.stringify(stored),
      idempotent: isIdempotent(request.message),
      reference: request.reference,
      sendAt: request.send_at?.getTime(),
      expiresAt: request.expires_at?.getTime(),
    })
    if (state === 'queued' || state === 'scheduled') {
      await this.#enqueue(request.account, {
        id,
        generation: 0,
        to: request.to,
        type: request.message.type,
        reference: request.reference,
        priority: request.priority,
        delayMs: state === 'scheduled' ? due - Date.now() : 0,
      })
    }
    return { id: id.text, state }
  }

  /** Requests that arrive together go to the lane together. Never rejects. */
  #enqueue(account: string, entry: LaneEntry): Promise<void> {
    return new Promise((done) => {
      const waiting = this.#waiting.get(account)
      if (waiting) {
        waiting.push({ entry, done })
        return
      }
      this.#waiting.set(account, [{ entry, done }])
      setImmediate(() => void this.#flush(account))
    })
  }

  async #flush(account: string): Promise<void> {
    const waiting = this.#waiting.get(account) ?? []
    this.#waiting.delete(account)
    const lane = this.#options.lanes.get(account)
    for (let from = 0; from < waiting.length; from += BATCH) {
      const batch = waiting.slice(from, from + BATCH)
      try {
        if (lane)
          await addToLane(
            lane,
            batch.map(({ entry }) => entry),
          )
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        this.#options.log.warn(
          { account, count: batch.length, reason: message },
          'lane.add_failed: the sweeper will add them',
        )
      }
      for (const { done } of batch) done()
    }
  }
}
