/** The words that a metric tells apart; what else a provider may say some day is `other`. */
const LABELS = new Set([
  'sent',
  'delivered',
  'read',
  'failed',
  'not-sent',
  'enqueued',
  'clicked',
  'deleted',
  'unreadable',
])

/** @param status a provider's own word */
export function receiptLabel(status: string): string {
  const word = status.replace(/[\s_]+/g, '-')
  return LABELS.has(word) ? word : 'other'
}
