/** From the ledger's record to what callers read. */
import { type CampaignRecord, createCampaignId, type ReportedRow } from './campaigns/index.ts'
import { type MessageId, type MessageRecord, postBackId } from './ledger/index.ts'
import type { MessageView } from './message.ts'

const instant = (milliseconds: number) => new Date(milliseconds).toISOString()

export function viewOf(id: MessageId, account: string, record: MessageRecord): MessageView {
  const waitsForTime = record.state === 'scheduled' || record.state === 'retrying'
  return {
    id: id.text,
    account,
    to: record.to,
    state: record.state,
    ...(record.requestId !== undefined && { request_id: record.requestId }),
    ...(record.wamid !== undefined && { wamid: record.wamid }),
    ...(record.reference !== undefined && { reference: record.reference }),
    // A campaign and its messages have the same salt.
    ...(record.campaign !== 0 && {
      campaign_id: createCampaignId(id.account, record.campaign, id.salt).text,
    }),
    error: record.error ?? null,
    created_at: instant(record.createdAt),
    updated_at: instant(record.updatedAt),
    ...(waitsForTime && { next_attempt_at: instant(record.due) }),
    attempts: record.attempts.map(({ at, outcome, code, durationMs }) => ({
      at: instant(at),
      ...(outcome && { outcome, code, duration_ms: durationMs }),
    })),
    receipts: record.receipts.map(({ at, status, code }) => ({
      at: instant(at),
      status,
      ...(code !== undefined && { code }),
    })),
    ...(record.postBacks.length > 0 && {
      post_backs: record.postBacks.map(({ event, state, at, status, attempts }) => ({
        id: postBackId(id, event),
        type: `message.${state}`,
        at: instant(at),
        status,
        attempts: attempts.map(({ at, code, durationMs }) => ({
          at: instant(at),
          code,
          duration_ms: durationMs,
        })),
      })),
    }),
  }
}

/** A campaign's row as the message that it is or will be; one that is none yet is as old as its campaign. */
export function viewOfRow({ id, definition, ...campaign }: CampaignRecord, row: ReportedRow): MessageView {
  if (row.message) return viewOf(row.id, definition.account, row.message)
  const { createdAt, startedAt = createdAt, finishedAt = startedAt, unfedAs } = campaign
  return {
    id: row.id.text,
    account: definition.account,
    to: row.to,
    state: row.state,
    ...(row.reference !== undefined && { reference: row.reference }),
    campaign_id: id.text,
    error: null,
    created_at: instant(createdAt),
    updated_at: instant(unfedAs ? finishedAt : startedAt),
    attempts: [],
    receipts: [],
  }
}
