/** Who of a campaign's recipients another campaign of the same name has reached already. */
import type { Ledger, MessageState } from '../ledger/index.ts'
import { parseCampaignId } from './ids.ts'
import { RecipientTable } from './recipient-table.ts'
import { campaignRowChunks, RowsGoneError } from './rows.ts'
import type { CampaignRecord, Campaigns } from './store.ts'

/** Reached, or it cannot be ruled out: being sent, and uncertain, count too. */
export const REACHED: ReadonlySet<MessageState> = new Set([
  'sending',
  'uncertain',
  'submitted',
  'sent',
  'delivered',
  'read',
])

/** Recipients kept in memory at a time, in at most 32 MB; a campaign of more is looked through in parts. */
export const MOST_RECIPIENTS = 2_000_000

export interface ReachedOptions {
  /** Only messages that changed from then on; milliseconds since 1970. */
  since: number
  /** True when nobody waits for the number any more: it is broken off. */
  isOver?: () => boolean
  mostRecipients?: number
}

/** @returns how many of the campaign's recipients, each counted once; what is no longer kept is not counted */
export async function countReached(
  campaigns: Campaigns,
  ledger: Ledger,
  record: CampaignRecord,
  { since, isOver = () => false, mostRecipients = MOST_RECIPIENTS }: ReachedOptions,
): Promise<number> {
  const others = await othersNamed(campaigns, record)
  if (others.length === 0) return 0
  const parts = Math.max(1, Math.ceil(record.total / mostRecipients))
  let reached = 0
  for (let part = 0; part < parts && !isOver(); part++) {
    const isOfPart = (to: number) => to % parts === part
    const recipients = new RecipientTable(record.total / parts)
    for await (const to of recipientsOf(campaigns, record, isOver)) if (isOfPart(to)) recipients.add(to)
    for (const other of others) {
      for await (const to of reachedBy(campaigns, ledger, other, since, isOver)) {
        if (isOfPart(to) && recipients.tickOff(to)) reached++
      }
    }
  }
  return reached
}

async function othersNamed(
  campaigns: Campaigns,
  { id, definition }: CampaignRecord,
): Promise<CampaignRecord[]> {
  const others: CampaignRecord[] = []
  // However old: what counts is when a message changed.
  for (const text of await campaigns.named(definition.name, 0)) {
    const otherId = text === id.text ? undefined : parseCampaignId(text)
    const other = otherId && (await campaigns.read(otherId))
    if (other && [...REACHED].some((state) => other.counts[state])) others.push(other)
  }
  return others
}

async function* recipientsOf(
  campaigns: Campaigns,
  { id, chunks }: CampaignRecord,
  isOver: () => boolean,
): AsyncGenerator<number, void, void> {
  for (let number = 0; number < chunks && !isOver(); number++) {
    const chunk = await campaigns.chunk(id, number)
    if (!chunk) throw new RowsGoneError(id)
    for (const row of chunk.rows) if (row) yield Number(row.to)
  }
}

async function* reachedBy(
  campaigns: Campaigns,
  ledger: Ledger,
  other: CampaignRecord,
  since: number,
  isOver: () => boolean,
): AsyncGenerator<number, void, void> {
  try {
    for await (const rows of campaignRowChunks(campaigns, ledger, other)) {
      if (isOver() || rows.every(({ position }) => position >= other.cursor)) return
      for (const { to, state, message } of rows) {
        if (message && REACHED.has(state) && message.updatedAt >= since) yield Number(to)
      }
    }
  } catch (error) {
    // Its retention has ended meanwhile.
    if (!(error instanceof RowsGoneError)) throw error
  }
}
