/** Looks through one campaign, page by page, while it may be running. */
import { type CampaignRecord, campaignRowChunks, RowsGoneError } from '../campaigns/index.ts'
import type { MessageState } from '../ledger/index.ts'
import { type Found, Inspection, type Listed, type ReconcileTools } from './inspection.ts'
import type { MendedLane, ReadMessage } from './mend.ts'

export interface CampaignReconcileOptions {
  afterMs: number
  mostListed: number
  /** True when nobody waits for the answer any more: it is broken off. */
  isOver?: () => boolean
}

export interface CampaignReconciliation {
  /** When it began; milliseconds since 1970. */
  at: number
  campaign: CampaignRecord
  found: Found
  /** Whether what was found is what the campaign counts; undefined where messages moved meanwhile. */
  countsAgree: boolean | undefined
  /** Rows that became messages which the ledger does not have: their places hold others, or were lost. */
  lostRows: Listed<{ line: number; id: string }>
}

/** Messages looked at in one go. */
const TOGETHER = 128

/** @throws {RowsGoneError} where rows, or messages of a finished campaign, are no longer kept */
export async function reconcileCampaign(
  tools: ReconcileTools,
  lane: MendedLane,
  before: CampaignRecord,
  { isOver = () => false, ...options }: CampaignReconcileOptions,
): Promise<CampaignReconciliation> {
  const { campaigns, ledger } = tools
  const at = await ledger.now()
  const inspection = new Inspection(tools, lane, options)
  const lostRows: CampaignReconciliation['lostRows'] = { count: 0, items: [] }
  for await (const rows of campaignRowChunks(campaigns, ledger, before)) {
    if (isOver()) break
    const messages: ReadMessage[] = []
    for (const { id, message, position, state, line } of rows) {
      if (message) {
        messages.push({ id, record: message })
        continue
      }
      inspection.count(state)
      if (position >= before.cursor) continue
      lostRows.count++
      if (lostRows.items.length < options.mostListed) lostRows.items.push({ line, id: id.text })
    }
    for (let from = 0; from < messages.length && !isOver(); from += TOGETHER)
      await inspection.look(messages.slice(from, from + TOGETHER))
  }
  const after = await campaigns.read(before.id)
  if (!after) throw new RowsGoneError(before.id)
  return {
    at,
    campaign: after,
    found: inspection.found,
    lostRows,
    countsAgree: agree(before, after, inspection),
  }
}

/**
 * Compares what was found with the counts before. Whether anything moved meanwhile is seen by the counts after, without
 * what was mended here; where something may have moved and moved back, only that they agree says something.
 */
function agree(
  before: CampaignRecord,
  after: CampaignRecord,
  { found, moves }: Inspection,
): boolean | undefined {
  const expected = { ...before.counts }
  for (const [move, count] of moves) {
    const [from, to] = move.split(' ') as [MessageState, MessageState]
    expected[from] = (expected[from] ?? 0) - count
    expected[to] = (expected[to] ?? 0) + count
  }
  if (!same(expected, after.counts)) return undefined
  if (same(found.states, before.counts)) return true
  const { scheduled = 0, queued = 0, retrying = 0, sending = 0 } = before.counts
  const mayMove = sending > 0 || (before.state === 'running' && scheduled + queued + retrying > 0)
  return mayMove ? undefined : false
}

type Counts = Partial<Record<MessageState, number>>

function same(one: Counts, other: Counts): boolean {
  const states = new Set([...Object.keys(one), ...Object.keys(other)] as MessageState[])
  return [...states].every((state) => (one[state] ?? 0) === (other[state] ?? 0))
}
