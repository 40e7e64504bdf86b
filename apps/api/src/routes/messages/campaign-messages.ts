/** The messages of a campaign, page by page, those that its rows will become included. */
import {
  CHUNK_ROWS,
  campaignRowChunks,
  type MessageState,
  type MessageView,
  viewOfRow,
} from '@wa-dispatch/dispatch'
import type { Storage } from '../../storage.ts'
import { findCampaign } from '../campaigns/find-campaign.ts'

/** Rows that one request looks at: where few are in the state that was asked for, a page is shorter. */
const MOST_LOOKED_AT = 8 * CHUNK_ROWS

export interface Page {
  items: MessageView[]
  /** The row with which the next page begins; undefined behind the last one. */
  next: number | undefined
}

/** @throws {Problem} 404 */
export async function readPage(
  storage: Storage,
  campaignId: string,
  state: MessageState | undefined,
  limit: number,
  from: number,
): Promise<Page> {
  const { campaigns, ledger } = storage
  const campaign = await findCampaign(storage, campaignId)
  const items: MessageView[] = []
  const { cursor, unfedAs, counts } = campaign
  if (state && !counts[state]) return { items, next: undefined }
  const mayBeUnfed = state === undefined || state === 'queued' || state === unfedAs
  for await (const rows of campaignRowChunks(campaigns, ledger, campaign, { from })) {
    for (const row of rows) {
      if (!mayBeUnfed && row.position >= cursor) return { items, next: undefined }
      if (items.length === limit || row.position >= from + MOST_LOOKED_AT)
        return { items, next: row.position }
      if (state === undefined || row.state === state) items.push(viewOfRow(campaign, row))
    }
  }
  return { items, next: undefined }
}
