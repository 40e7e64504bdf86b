/**
 * Kaleyra's receipts, as in "Status Update Webhooks" (v2, Sent, Delivered, Read, Failed) and "WhatsApp Status".
 *
 * A callback profile of the customer's own may reshape them, so each fact is looked for wherever it is known to stand.
 */
import { z } from 'zod'
import { looseId, looseText } from '../json.ts'
import type { ReceiptReading } from '../receipt.ts'
import {
  type Failure,
  isObject,
  listOf,
  moment,
  ourId,
  type Part,
  phoneNumber,
  readingOf,
  receiptOf,
  type StatusTable,
  statusWord,
  wamid,
  whatsappFailure,
} from '../receipt-reading.ts'
import { outcomes } from './outcomes.ts'

export const statuses = {
  sent: 'sent',
  delivered: 'delivered',
  read: 'read',
  failed: 'failed',
  // "Kaleyra WhatsApp application do not sent the message to Meta WhatsApp API for any reason."
  'not-sent': 'failed',
} satisfies StatusTable

/** Guess: their own codes, which answers to a send carry, are in receipts too where a message was not passed on. */
const failures = Object.fromEntries(
  Object.entries(outcomes).flatMap(([code, row]) => ('message' in row ? [[code, row.message]] : [])),
)

const extraInfo = z.object({ message_id: wamid, ref: ourId }).nullish().catch(undefined)

/** What stands beside the statuses: of the whole body, or of a body that is one status. */
const frameSchema = z.object({
  extra_info: extraInfo,
  message_id: looseText,
  ref: ourId,
  status: statusWord,
})
type Frame = z.infer<typeof frameSchema>

const statusSchema = z.object({
  id: looseId,
  status: statusWord,
  /** Not a message's, if it is there and says something else: `payment` has statuses of the same names. */
  type: looseText,
  timestamp: moment,
  recipient_id: phoneNumber,
  errors: z.unknown().optional(),
  error: z.unknown().optional(),
  code: looseText,
  reason: looseText,
})

/** @param body parsed JSON of any shape */
export function readReceipts(body: unknown): ReceiptReading {
  return readingOf(listOf(body).flatMap(partsOf))
}

function partsOf(body: unknown): Part[] {
  if (!isObject(body)) return ['unreadable']
  const frame = frameSchema.parse(body)
  const object = isObject(body.meta_object) ? body.meta_object : body
  const value = isObject(object.value) ? object.value : object
  const inside = listOf(value.statuses)
  if (inside.length > 0) {
    const framed = isAboutOne(inside)
    return inside.map((one) => partOf(one, frame, framed))
  }
  // A profile of the customer's own may leave the object out and put the status itself at the top.
  if (frame.status) return [partOf({ ...body, id: body.id ?? frame.message_id }, frame, true)]
  // Inbound messages, and news about templates and numbers.
  return [value.messages || object.field || body.event ? 'other' : 'unreadable']
}

/** What stands beside several statuses belongs to one message: it is nobody's where they are about several. */
function isAboutOne(list: unknown[]): boolean {
  return new Set(list.map((one) => (isObject(one) ? String(one.id) : ''))).size === 1
}

function partOf(one: unknown, frame: Frame, framed: boolean): Part {
  const { success, data } = statusSchema.safeParse(one)
  if (!success) return 'unreadable'
  if (data.type && data.type !== 'message') return 'other'
  const beside = framed ? frame : undefined
  return receiptOf(
    {
      status: data.status ?? beside?.status,
      // `statuses[].id` is the id that the send was answered with, and not the wamid, which stands in `extra_info`.
      ...(data.id?.startsWith('wamid.') ? { wamid: data.id } : { requestId: data.id }),
      ...(beside && besides(beside)),
      recipient: data.recipient_id,
      at: data.timestamp,
      failure: failureOf(data),
    },
    statuses,
  )
}

function besides({ extra_info: extra, message_id: id, ref }: Frame) {
  const messageId = extra?.ref ?? ref
  const found = extra?.message_id ?? wamid.parse(id)
  return { ...(messageId && { messageId }), ...(found && { wamid: found }) }
}

function failureOf({ errors, error, code, reason }: z.infer<typeof statusSchema>): Failure {
  const told = whatsappFailure(errors) ?? whatsappFailure(error) ?? { code, words: [reason] }
  return { ...told, table: failures }
}
