/** One campaign's rows on their way into the ledger: the next ones, and those that are to be tried again. */
import {
  type Account,
  type CampaignId,
  type CampaignRecord,
  type CampaignRow,
  CHUNK_ROWS,
  type Chunk,
  compileTemplate,
  type LaneEntry,
  type MessageId,
  type NewMessage,
  type RetryPass,
  receiverOf,
  type StoredContent,
  type Template,
} from '@wa-dispatch/dispatch'
import { isIdempotent, type Provider, providers } from '@wa-dispatch/providers'
import type { FeederOptions } from './feeder.ts'

/** One script takes so many in: about a millisecond of Redis' time. */
const FED_TOGETHER = 100
/** Rows that a retry looks at in one go when it finds few that failed. */
const MOST_LOOKED_AT = 20 * CHUNK_ROWS

type Dependencies = Pick<FeederOptions, 'campaigns' | 'ledger' | 'log'>

export class CampaignFeed {
  readonly #id: CampaignId
  readonly #account: Account
  readonly #dependencies: Dependencies
  #template: Template | undefined
  #chunk: Chunk | undefined

  constructor(id: CampaignId, account: Account, dependencies: Dependencies) {
    this.#id = id
    this.#account = account
    this.#dependencies = dependencies
  }

  /** @returns entries for the lane, at most `count`; none when there are none or somebody else feeds */
  async take(count: number): Promise<LaneEntry[]> {
    const entries: LaneEntry[] = []
    try {
      while (entries.length < count && (await this.#takeSome(entries, count - entries.length))) {
        // There may be more.
      }
    } catch (error) {
      // What is in the ledger by now goes to the lane; the next call meets the same fault.
      if (entries.length === 0) throw error
    }
    return entries
  }

  /** @returns whether another call may find more */
  async #takeSome(entries: LaneEntry[], count: number): Promise<boolean> {
    const record = await this.#dependencies.campaigns.read(this.#id)
    if (record?.state !== 'running') return false
    const most = Math.min(count, FED_TOGETHER)
    const some = record.retry ? await this.#retry(record, record.retry, most) : await this.#feed(record, most)
    if (!some) return false
    entries.push(...some)
    // A retry that found nothing goes on in the next round: others have a turn.
    return !(record.retry && some.length === 0)
  }

  async #chunkAt(cursor: number): Promise<Chunk | undefined> {
    const number = Math.floor(cursor / CHUNK_ROWS)
    if (this.#chunk?.number !== number)
      this.#chunk = await this.#dependencies.campaigns.chunk(this.#id, number)
    return this.#chunk
  }

  /** The next rows. @returns undefined when there are none for us */
  async #feed(record: CampaignRecord, most: number): Promise<LaneEntry[] | undefined> {
    const { campaigns, ledger } = this.#dependencies
    if (record.cursor >= record.chunks * CHUNK_ROWS || record.unfedAs) return undefined
    const chunk = await this.#chunkAt(record.cursor)
    if (!chunk) throw new Error(`chunk ${Math.floor(record.cursor / CHUNK_ROWS)} of ${this.#id.text} is lost`)
    const rows: { id: MessageId; row: CampaignRow }[] = []
    let index = record.cursor % CHUNK_ROWS
    for (; index < chunk.rows.length && rows.length < most; index++) {
      const row = chunk.rows[index]
      if (row) rows.push({ id: campaigns.messageId(this.#id, chunk, index), row })
    }
    const next =
      index < chunk.rows.length ? chunk.number * CHUNK_ROWS + index : (chunk.number + 1) * CHUNK_ROWS
    const messages = rows.map(({ id, row }) => this.#messageOf(record, id, row))
    const accepted = await ledger.feed(this.#account.id, this.#id.number, messages, record.cursor, next)
    if (!accepted) return undefined
    return rows.flatMap(({ id, row }, at) =>
      accepted[at]?.state === 'queued' ? this.#entryOf(record, id, row, 0) : [],
    )
  }

  /** Failed ones again. @returns undefined when nobody waits for it any more */
  async #retry(record: CampaignRecord, retry: RetryPass, most: number): Promise<LaneEntry[] | undefined> {
    const { campaigns } = this.#dependencies
    const entries: LaneEntry[] = []
    let { cursor } = retry
    for (let seen = 0; cursor < retry.to && entries.length < most && seen < MOST_LOOKED_AT; ) {
      const chunk = await this.#chunkAt(cursor)
      const from = cursor % CHUNK_ROWS
      if (chunk && from === 0) await campaigns.retainChunk(this.#id, chunk, false)
      const upTo = Math.min(from + most - entries.length, chunk?.rows.length ?? 0)
      if (chunk && from < upTo) entries.push(...(await this.#reopen(record, retry, chunk, from, upTo)))
      const atEnd = !chunk || upTo >= chunk.rows.length
      seen += upTo - from
      cursor = atEnd ? (Math.floor(cursor / CHUNK_ROWS) + 1) * CHUNK_ROWS : cursor + upTo - from
    }
    await campaigns.keepRetry(this.#id, retry, cursor >= retry.to ? undefined : cursor)
    return entries
  }

  async #reopen(
    record: CampaignRecord,
    { codes }: RetryPass,
    chunk: Chunk,
    from: number,
    upTo: number,
  ): Promise<LaneEntry[]> {
    const { campaigns, ledger } = this.#dependencies
    const rows = chunk.rows.slice(from, upTo).flatMap((row, index) => {
      return row ? { id: campaigns.messageId(this.#id, chunk, from + index), row } : []
    })
    const records = await ledger.readEach(rows.map(({ id }) => id))
    const failed = rows.filter((_, at) => {
      const message = records[at]
      return message?.state === 'failed' && (codes.length === 0 || codes.includes(message.error?.code ?? ''))
    })
    if (failed.length === 0) return []
    const generations = await ledger.reopen(
      this.#account.id,
      failed.map(({ id, row }) => ({ id, content: this.#messageOf(record, id, row).content })),
    )
    return failed.flatMap(({ id, row }, at) => {
      const generation = generations[at]
      return generation === undefined ? [] : this.#entryOf(record, id, row, generation)
    })
  }

  #messageOf({ definition }: CampaignRecord, id: MessageId, row: CampaignRow): NewMessage {
    const template = this.#templateOf(definition.message)
    const variables = Object.fromEntries(template.variables.map((name, index) => [name, row.values[index]!]))
    const message = template.fill(variables)
    const stored: StoredContent = { account: this.#account.id, message, priority: definition.priority }
    return {
      id,
      to: row.to,
      content: JSON.stringify(stored),
      idempotent: isIdempotent(message),
      reference: row.reference ?? definition.reference,
      campaign: this.#id.number,
      expiresAt: definition.expiresAt,
      callback:
        definition.postBackUrl === undefined ? undefined : { receiver: receiverOf(definition.postBackUrl) },
    }
  }

  #templateOf(message: unknown): Template {
    if (!this.#template) {
      const compiled = compileTemplate(
        message,
        providers[this.#account.provider as keyof typeof providers] as Provider,
      )
      if (!('template' in compiled)) {
        const [issue] = compiled.issues
        throw new Error(
          `the message of ${this.#id.text} does not fit its account any more: ${issue?.path.join('.')} ${issue?.message}`,
        )
      }
      this.#template = compiled.template
    }
    return this.#template
  }

  #entryOf(
    { definition }: CampaignRecord,
    id: MessageId,
    { to, reference }: CampaignRow,
    generation: number,
  ): LaneEntry {
    return {
      id,
      generation,
      to,
      type: String(definition.message.type),
      reference: reference ?? definition.reference,
      priority: definition.priority,
      ofCampaign: true,
      delayMs: 0,
    }
  }
}
