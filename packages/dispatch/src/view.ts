/** From the ledger's record to what callers read. */
import type { MessageId, MessageRecord } from './ledger/index.ts'
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
    ...(record.reference !== undefined && { reference: record.reference }),
    error: record.error ?? null,
    created_at: instant(record.createdAt),
    updated_at: instant(record.updatedAt),
    ...(waitsForTime && { next_attempt_at: instant(record.due) }),
    attempts: record.attempts.map(({ at, outcome, code, durationMs }) => ({
      at: instant(at),
      ...(outcome && { outcome, code, duration_ms: durationMs }),
    })),
    receipts: [],
  }
}
