/**
 * Gupshup's receipts, as in "Passthrough (V3) Incoming events" (Partner API): WhatsApp's own envelope with Gupshup's
 * id in each status. Their order is not kept.
 */
import { z } from 'zod'
import { looseId, looseText } from '../json.ts'
import type { ReceiptReading } from '../receipt.ts'
import {
  type FailureTable,
  isObject,
  listOf,
  moment,
  type Part,
  phoneNumber,
  readingOf,
  receiptOf,
  type StatusTable,
  statusWord,
  whatsappFailure,
} from '../receipt-reading.ts'

export const statuses = {
  // Gupshup has it; WhatsApp does not yet.
  enqueued: null,
  sent: 'sent',
  delivered: 'delivered',
  read: 'read',
  failed: 'failed',
  // WhatsApp's, for a message that its sender took back.
  deleted: null,
} satisfies StatusTable

/** Gupshup's own codes ("Error Codes", Gupshup Specific Error Codes); WhatsApp's are in `whatsapp-codes.ts`. */
export const failures = {
  '500': "Gupshup's server failed",
  '1001': "the app's bot and sender do not belong together",
  '1002': 'the number is not on WhatsApp',
  '1003': "the wallet's balance is low",
  '1004': 'more than 24 hours since the recipient last wrote, and templates are turned off',
  '1005': 'more than 24 hours since the recipient last wrote, and no template fits',
  '1006': 'more than 24 hours since the recipient last wrote, and no opt-in for templates',
  '1007': 'more than 24 hours since the recipient last wrote, no opt-in, and no template fits',
  '1008': 'more than 24 hours since the recipient last wrote, and no opt-in',
  '1010': "the media's address is not valid",
  '1011': "the media's size is not allowed",
  '1012': 'the recipient opted out',
  '4001': 'too many requests: Gupshup asks to stop sending',
  '4002': "WhatsApp's answer to Gupshup could not be read",
  '4003': 'no template fits',
  '4004': "only numbers on WhatsApp's Cloud API can send this type",
  '4005': 'the template is paused',
} satisfies FailureTable

const statusSchema = z.object({
  /** What the send was answered with. Missing on events older than a week: the wamid of earlier ones has to do. */
  gs_id: looseId,
  /** The wamid. */
  id: looseId,
  status: statusWord,
  /** `set-callback` is a check of the address; `payment` has statuses that are not the message's. */
  type: looseText,
  /** A number of milliseconds for `enqueued`, a text of seconds for `sent`. */
  timestamp: moment,
  recipient_id: phoneNumber,
  errors: z.unknown().optional(),
  /** Where Gupshup itself failed it, the page prints these in place of `errors`. */
  code: looseText,
  reason: looseText,
})

/** @param body parsed JSON of any shape */
export function readReceipts(body: unknown): ReceiptReading {
  const changes = listOf(body)
    .flatMap((one) => (isObject(one) ? listOf(one.entry) : [one]))
    .flatMap((one) => (isObject(one) ? listOf(one.changes) : [one]))
  return readingOf(changes.flatMap(partsOf))
}

function partsOf(change: unknown): Part[] {
  if (!isObject(change)) return ['unreadable']
  // `platform-event`, `billing-event`, `account-event`, …
  if (typeof change.field === 'string' && change.field !== 'messages') return ['other']
  if (!isObject(change.value)) return ['unreadable']
  const inside = listOf(change.value.statuses)
  if (inside.length > 0) return inside.map(partOf)
  return [listOf(change.value.messages).length > 0 ? 'other' : 'unreadable']
}

function partOf(one: unknown): Part {
  const { success, data } = statusSchema.safeParse(one)
  if (!success) return 'unreadable'
  if (data.type && data.type !== 'message') return 'other'
  const isWamid = data.id?.startsWith('wamid.')
  return receiptOf(
    {
      status: data.status,
      // Guess: an id that is no wamid is Gupshup's own, as its older events have it for messages that never left.
      requestId: data.gs_id ?? (isWamid ? undefined : data.id),
      wamid: isWamid ? data.id : undefined,
      recipient: data.recipient_id,
      at: data.timestamp,
      failure: {
        ...(whatsappFailure(data.errors) ?? { code: data.code, words: [data.reason] }),
        table: failures,
      },
    },
    statuses,
  )
}
