/** Campaigns for test files: rows put in, fed and brought into whatever state, without a worker. */
import type { Ledger, MessageId, MessageState, Settlement } from '../ledger/index.ts'
import type { CampaignDefinition } from './campaign.ts'
import { CHUNK_ROWS } from './chunk.ts'
import type { CampaignId } from './ids.ts'
import type { Campaigns } from './store.ts'

export interface Store {
  campaigns: Campaigns
  ledger: Ledger
}

export const testDefinition: CampaignDefinition = {
  name: 'autumn',
  account: 'kaleyra-in',
  message: {
    type: 'interactive',
    interactive: {
      type: 'button',
      body: { text: 'Hello {{name}}' },
      action: { buttons: [{ type: 'reply', reply: { id: 'yes', title: 'Yes' } }] },
    },
  },
  priority: 'bulk',
  weight: 1,
}

/** `count` numbers that follow each other. */
export const recipients = (count: number, first = 919_000_000_000): string[] =>
  Array.from({ length: count }, (_, index) => String(first + index))

/** An upload of its own: lines begin at 1. @param chunkRows rows in each chunk, but for the last one */
export async function upload(
  { campaigns }: Store,
  id: CampaignId,
  to: string[],
  chunkRows = CHUNK_ROWS,
  references: (string | undefined)[] = [],
): Promise<void> {
  for (let from = 0; from < to.length; from += chunkRows) {
    const rows = to.slice(from, from + chunkRows).map((recipient, index) => ({
      line: from + index + 1,
      to: recipient,
      reference: references[from + index],
      values: [`n${recipient}`],
    }))
    await campaigns.store(id, {}, from / chunkRows, campaigns.pack(rows, new Map()))
  }
}

/** Makes messages of the next rows, at most `count`, as the feeder does. @returns their ids */
export async function feed(
  { campaigns, ledger }: Store,
  id: CampaignId,
  count: number,
): Promise<MessageId[]> {
  const fed: MessageId[] = []
  for (;;) {
    const record = (await campaigns.read(id))!
    const chunk = await campaigns.chunk(id, Math.floor(record.cursor / CHUNK_ROWS))
    if (!chunk || fed.length === count) return fed
    const { account, reference } = record.definition
    const ids: MessageId[] = []
    let index = record.cursor % CHUNK_ROWS
    const messages = []
    for (; index < chunk.rows.length && fed.length + ids.length < count; index++) {
      const row = chunk.rows[index]
      if (!row) continue
      const message = campaigns.messageId(id, chunk, index)
      ids.push(message)
      messages.push({
        id: message,
        to: row.to,
        content: JSON.stringify({ account, message: { type: 'interactive' }, priority: 'bulk' }),
        idempotent: false,
        reference: row.reference ?? reference,
        campaign: id.number,
      })
    }
    const place =
      index < chunk.rows.length ? chunk.number * CHUNK_ROWS + index : (chunk.number + 1) * CHUNK_ROWS
    if (!(await ledger.feed(account, id.number, messages, record.cursor, place))) return fed
    fed.push(...ids)
  }
}

const attempt = { attempt: 1, durationMs: 84, counts: true }

/** What a first attempt can lead to. */
const SETTLEMENTS: Partial<Record<MessageState, Omit<Settlement, 'state'>>> = {
  submitted: { ...attempt, outcome: 'accepted', code: 'WA202' },
  failed: {
    ...attempt,
    outcome: 'rejected',
    code: 'E110',
    error: { code: 'E110', kind: 'balance', message: 'Insufficient balance', at: 'submit' },
  },
  retrying: { ...attempt, outcome: 'unavailable', code: 'WA500', inMs: 300_000 },
  uncertain: { ...attempt, outcome: 'uncertain', code: 'ETIMEDOUT', inMs: 600_000 },
}
export const REACHABLE = [
  'queued',
  'sending',
  'submitted',
  'failed',
  'retrying',
  'uncertain',
  'cancelled',
] as const

/** Brings a queued message of a running campaign into a state. */
export async function bring(
  { ledger }: Store,
  id: MessageId,
  state: (typeof REACHABLE)[number],
): Promise<void> {
  if (state === 'queued') return
  if (state === 'cancelled') {
    await ledger.endWaiting(id, 'cancelled')
    return
  }
  await ledger.claim(id, 0, 60_000, 'test')
  const settlement = SETTLEMENTS[state]
  if (!settlement) return
  const requestId = state === 'submitted' ? `req-${id.text}` : undefined
  await ledger.settle(id, { ...settlement, state, requestId })
}
