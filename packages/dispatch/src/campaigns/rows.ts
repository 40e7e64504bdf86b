/**
 * A campaign's rows, each with the message that it has become, if it has.
 *
 * The campaign may be running meanwhile. Its cursor is read first, then the messages: a row at or behind that cursor
 * that is found without a message was none when the cursor was read, and what the campaign said of such rows then,
 * queued or given up, was true of it. So each row is shown in a state that it had; at rest, the states add up to the
 * campaign's counts.
 */
import type { Ledger, MessageId, MessageRecord, MessageState } from '../ledger/index.ts'
import { CHUNK_ROWS, type Chunk } from './chunk.ts'
import type { CampaignId } from './ids.ts'
import type { CampaignRecord, Campaigns } from './store.ts'

/** A row as a reader sees it. */
export interface ReportedRow {
  /** Chunk × 512 + index. */
  position: number
  /** Of the upload, from 1. */
  line: number
  to: string
  /** Its own, or the campaign's. */
  reference?: string | undefined
  /** In the order of the template's variables. */
  values: string[]
  id: MessageId
  state: MessageState
  /** Absent: it is no message yet, or will never be. */
  message?: MessageRecord | undefined
}

export interface RowsOptions {
  /** The first position; 0 when absent. */
  from?: number
}

/** The rows, or the messages that they were, are no longer kept. */
export class RowsGoneError extends Error {
  readonly statusCode = 404
  constructor(id: CampaignId) {
    super(`rows of ${id.text} are gone`)
    this.name = 'RowsGoneError'
  }
}

/**
 * The rows that the campaign has by now, in the order in which they were uploaded.
 * @throws {RowsGoneError} where retention has ended meanwhile
 */
export async function* campaignRows(
  campaigns: Campaigns,
  ledger: Ledger,
  record: CampaignRecord,
  options: RowsOptions = {},
): AsyncGenerator<ReportedRow, void, void> {
  for await (const rows of campaignRowChunks(campaigns, ledger, record, options)) yield* rows
}

/** As {@link campaignRows}, a chunk of at most 512 rows at a time; the next one is read while one is looked at. */
export async function* campaignRowChunks(
  campaigns: Campaigns,
  ledger: Ledger,
  record: CampaignRecord,
  { from = 0 }: RowsOptions = {},
): AsyncGenerator<ReportedRow[], void, void> {
  const read = (number: number) => readChunk(campaigns, ledger, record.id, number)
  const first = Math.floor(from / CHUNK_ROWS)
  let ahead = first < record.chunks ? read(first) : undefined
  for (let number = first; ahead; number++) {
    const rows = await ahead
    ahead = number + 1 < record.chunks ? read(number + 1) : undefined
    ahead?.catch(() => undefined) // who stops here never asks for it
    yield number === first ? rows.filter(({ position }) => position >= from) : rows
  }
}

/**
 * The row that a message is or will be made of.
 * @returns undefined when the id is of no campaign, or of one that is no longer kept
 */
export async function campaignRow(
  campaigns: Campaigns,
  ledger: Ledger,
  id: MessageId,
): Promise<{ campaign: CampaignRecord; row: ReportedRow } | undefined> {
  const found = await campaigns.findRow(id)
  if (!found) return undefined
  const { campaign, chunk, index } = found
  // The message is asked for behind the cursor: see above.
  const row = withMessage(rowOf(campaigns, campaign, chunk, index)!, campaign, await ledger.read(id))
  return row && { campaign, row }
}

async function readChunk(
  campaigns: Campaigns,
  ledger: Ledger,
  id: CampaignId,
  number: number,
): Promise<ReportedRow[]> {
  const [campaign, chunk] = await Promise.all([campaigns.read(id), campaigns.chunk(id, number)])
  if (!campaign || !chunk) throw new RowsGoneError(id)
  const rows = [...chunk.rows.keys()].flatMap((index) => rowOf(campaigns, campaign, chunk, index) ?? [])
  const fed = rows.filter(({ position }) => position < campaign.cursor)
  const messages = await ledger.readEach(fed.map(({ id }) => id))
  return rows.map((row, index) => {
    const known = withMessage(row, campaign, messages[index])
    if (!known) throw new RowsGoneError(id)
    return known
  })
}

/** The row while it is no message. @returns undefined for a duplicate */
function rowOf(
  campaigns: Campaigns,
  { id, definition, cursor, unfedAs }: CampaignRecord,
  chunk: Chunk,
  index: number,
): ReportedRow | undefined {
  const row = chunk.rows[index]
  if (!row) return undefined
  const { line, to, reference = definition.reference, values } = row
  const position = chunk.number * CHUNK_ROWS + index
  return {
    position,
    line,
    to,
    ...(reference !== undefined && { reference }),
    values,
    id: campaigns.messageId(id, chunk, index),
    state: position >= cursor && unfedAs ? unfedAs : 'queued',
  }
}

/** @returns undefined where there was a message that is no longer kept */
function withMessage(
  row: ReportedRow,
  { cursor, finishedAt }: CampaignRecord,
  message: MessageRecord | undefined,
): ReportedRow | undefined {
  if (message) return { ...row, state: message.state, message }
  // Nothing that is queued is left in a finished campaign.
  return finishedAt !== undefined && row.position < cursor ? undefined : row
}
