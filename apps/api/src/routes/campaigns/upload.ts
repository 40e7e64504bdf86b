/**
 * From the rows of a file to chunks in Redis, in the order of the file. A few chunks are under way at a time: who reads
 * the file waits for them, and so does who sends it.
 *
 * The same file always gives the same chunks: each ends with its 512th fitting row, wherever the network cut the file.
 * So a repeat under its Idempotency-Key meets what it left, chunk by chunk.
 */
import { setImmediate as yieldToOthers } from 'node:timers/promises'
import {
  type CampaignId,
  type CampaignRow,
  type CampaignState,
  type Campaigns,
  CHUNK_ROWS,
  type PackedRows,
  type Stored,
  type Template,
} from '@wa-dispatch/dispatch'
import type { Batch, RecipientRow, RefusedRow } from '../../recipients/read-rows.ts'

/** Chunks that wait for their turn. */
const CHUNKS_UNDER_WAY = 4
const ERRORS_TOLD = 100

/** What an upload answers; the numbers are of this file. */
export interface UploadAnswer {
  accepted: number
  rejected: number
  duplicates: number
  /** The first ones, in the order of the file. */
  errors: { line: number; message: string }[]
}

/** Why an upload ends before its file does. */
export type UploadEnd = { kind: 'conflict' | 'unknown' } | { kind: 'closed'; state: CampaignState }

export class UploadEndedError extends Error {
  override name = 'UploadEndedError'
  readonly end: UploadEnd
  constructor(end: UploadEnd) {
    super(`the upload ended: ${end.kind}`)
    this.end = end
  }
}

export interface UploadOptions {
  campaigns: Campaigns
  id: CampaignId
  /** By which its chunks are known when it is repeated. */
  key: string | undefined
  template: Template
  /** Called for each chunk that was not there before. */
  stored(counts: Record<'accepted' | 'rejected' | 'duplicate', number>): void
}

interface Waiting {
  rejected: number
  packed: PackedRows
}

export class Upload {
  readonly #options: UploadOptions
  #rows: CampaignRow[] = []
  #refused = new Map<string, number>()
  #rejected = 0
  /** Chunks that were cut. */
  #chunks = 0
  #underWay: Promise<void>[] = []
  #turn: Promise<void> = Promise.resolve()
  readonly #answer: UploadAnswer = { accepted: 0, rejected: 0, duplicates: 0, errors: [] }
  #storedAny = false

  constructor(options: UploadOptions) {
    this.#options = options
  }

  /** What is stored by now, and all errors so far. */
  get answer(): UploadAnswer {
    return this.#answer
  }

  get chunks(): number {
    return this.#chunks
  }

  /** Whether every chunk so far had been there before. */
  get repeats(): boolean {
    return !this.#storedAny
  }

  /**
   * Takes rows in; returns when there is room for more.
   * @throws {UploadEndedError} and what Redis throws
   */
  async add({ rows, refused }: Batch): Promise<void> {
    let next = 0
    for (const row of rows) {
      for (; next < refused.length && refused[next]!.line < row.line; next++) this.#refuse(refused[next]!)
      this.#accept(row)
      if (this.#rows.length === CHUNK_ROWS) await this.#cut()
    }
    for (; next < refused.length; next++) this.#refuse(refused[next]!)
    await yieldToOthers()
  }

  /** Stores what is left. */
  async end(): Promise<void> {
    if (this.#rows.length > 0 || this.#rejected > 0) await this.#cut()
    await this.#settle(0)
  }

  /** Waits until nothing is under way any more, whatever becomes of it. */
  async stop(): Promise<void> {
    await Promise.allSettled(this.#underWay)
  }

  #accept({ line, to, reference, variables }: RecipientRow): void {
    const { template } = this.#options
    const refusal = template.check(variables)
    if (refusal) {
      this.#refuse({ line, reason: refusal.reason, message: refusal.message })
      return
    }
    this.#rows.push({
      line,
      to,
      ...(reference !== undefined && { reference }),
      values: template.variables.map((name) => variables[name]!),
    })
  }

  #refuse({ line, reason, message }: Omit<RefusedRow, 'reason'> & { reason: string }): void {
    this.#refused.set(reason, (this.#refused.get(reason) ?? 0) + 1)
    this.#rejected++
    if (this.#answer.errors.length < ERRORS_TOLD) this.#answer.errors.push({ line, message })
  }

  async #cut(): Promise<void> {
    const { campaigns } = this.#options
    const chunk = { rejected: this.#rejected, packed: campaigns.pack(this.#rows, this.#refused) }
    const ordinal = this.#chunks++
    this.#rows = []
    this.#refused = new Map()
    this.#rejected = 0
    // One after the other: a chunk that does not belong here keeps those behind it out.
    const turn = this.#turn.then(() => this.#store(ordinal, chunk))
    turn.catch(() => undefined)
    this.#turn = turn
    this.#underWay.push(turn)
    await this.#settle(CHUNKS_UNDER_WAY - 1)
  }

  async #store(ordinal: number, { rejected, packed }: Waiting): Promise<void> {
    const { campaigns, id, key, stored } = this.#options
    const result: Stored = await campaigns.store(id, { key }, ordinal, packed)
    if (!('accepted' in result)) throw new UploadEndedError(result)
    const { accepted, duplicates } = result
    this.#answer.accepted += accepted
    this.#answer.duplicates += duplicates
    this.#answer.rejected += rejected
    if (result.kind === 'again') return
    this.#storedAny = true
    stored({ accepted, rejected, duplicate: duplicates })
  }

  /** Waits until no more than so many chunks are under way. */
  async #settle(atMost: number): Promise<void> {
    while (this.#underWay.length > atMost) {
      await this.#underWay[0]
      this.#underWay.shift()
    }
  }
}
