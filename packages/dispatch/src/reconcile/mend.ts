/**
 * Mends what the ledger holds and its lane does not know, and claims whose worker died. The sweeper does it for what
 * stands in the ledger's lists, reconciliation for whatever it comes across. Doing it at any time, twice, or beside a
 * worker that is at work sends nothing twice: the ledger decides at the claim.
 */
import type { SendOutcome } from '@wa-dispatch/providers'
import type { Redis } from 'ioredis'
import type { Logger } from 'pino'
import type { Account } from '../accounts.ts'
import type { StoredContent } from '../intake.ts'
import { addToLane, jobIdOf, type Lane, type Priority } from '../lanes.ts'
import {
  type Ledger,
  type MessageId,
  type MessageRecord,
  type MessageState,
  type OutcomeName,
  WAITING,
} from '../ledger/index.ts'
import { decide } from '../retry-table.ts'

/** Nobody knows what became of an attempt whose claim is over. */
export const WORKER_LOST: SendOutcome = {
  outcome: 'uncertain',
  code: 'WORKER_LOST',
  message: 'The worker stopped between claiming the message and writing down the answer.',
  answered: false,
}

export interface MenderOptions {
  ledger: Ledger
  redis: Redis
  log: Logger
  /** Told of each attempt that is given up for lost. */
  attempted?: (account: string, outcome: OutcomeName, durationMs: number) => void
}

/** An account with its lane. */
export interface MendedLane {
  account: Account
  lane: Lane
}

/** A message as it was read a moment ago. */
export interface ReadMessage {
  id: MessageId
  record: MessageRecord
}

export class Mender {
  readonly #options: MenderOptions

  constructor(options: MenderOptions) {
    this.#options = options
  }

  /**
   * Adds the job of a waiting message, if there is none that will run.
   * @param now milliseconds since 1970, by the ledger
   * @param thorough whether a job that exists is looked for in the lane's lists too, which is dear
   * @returns whether there was none
   */
  async addMissingJob(
    { account, lane }: MendedLane,
    { id, record }: ReadMessage,
    now: number,
    thorough: boolean,
  ): Promise<boolean> {
    const { ledger, redis, log } = this.#options
    const jobId = jobIdOf(id, record.generation)
    const [addedAt, finishedOn] = await redis.hmget(lane.toKey(jobId), 'timestamp', 'finishedOn')
    const there = addedAt !== null && finishedOn === null
    if (there && !(thorough && (await lane.getJobState(jobId)) === 'unknown')) return false
    // Sent and done with since it was read: then it is no wonder that the job is gone.
    const latest = await ledger.read(id)
    if (!latest || latest.generation !== record.generation || !WAITING.includes(latest.state)) return false
    let { generation, due } = latest
    if (addedAt !== null) {
      const next = await ledger.requeue(id, generation)
      if (!next) return false
      generation = next.generation
      due = next.due
    }
    await this.addJob(lane, id, generation, due - now)
    log.warn({ message: id.text, account: account.id, state: latest.state, generation }, 'sweep.job_added')
    return true
  }

  /** @param delayMs from now */
  async addJob(lane: Lane, id: MessageId, generation: number, delayMs: number): Promise<void> {
    const { ledger } = this.#options
    const [record, content] = await Promise.all([ledger.read(id), ledger.content(id)])
    if (!record) return
    const { to, reference, campaign } = record
    const entry = { id, generation, to, ...tellOf(content), reference, ofCampaign: campaign > 0, delayMs }
    await addToLane(lane, [entry])
  }

  /** Settles a claim whose time is over. @returns the state that follows; undefined where there is no such claim */
  async giveUpLostClaim(account: Account, id: MessageId): Promise<MessageState | undefined> {
    const { ledger, log, attempted } = this.#options
    const held = await ledger.currentClaim(id)
    if (!held || held.inMs > 0) return undefined
    const { attempt, tries, idempotent } = held
    const context = { attempt, tries, idempotent, durationMs: 0, random: Math.random() }
    const { settlement } = decide(WORKER_LOST, account, context)
    const { settled, state } = await ledger.settle(id, settlement)
    // Its worker lives after all, or somebody else was here first.
    if (!settled) return undefined
    const { outcome, code, inMs } = settlement
    attempted?.(account.id, outcome, 0)
    log.info(
      {
        message: id.text,
        account: account.id,
        attempt,
        outcome,
        code,
        duration_ms: 0,
        state,
        next_in_ms: inMs,
      },
      'dispatch.attempted',
    )
    return state
  }
}

/** What the job shows; content that is lost or unreadable is the worker's to tell. */
function tellOf(content: string | null): { type: string; priority: Priority } {
  try {
    const { message, priority } = JSON.parse(content ?? '') as StoredContent
    return { type: message.type, priority }
  } catch {
    return { type: 'unreadable', priority: 'transactional' }
  }
}
