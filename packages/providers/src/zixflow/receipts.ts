/**
 * Zixflow's receipts: what it posts ("Postback Notifications") and what it answers when it is asked
 * ("Get Message Delivery Report").
 */
import { z } from 'zod'
import { address } from '../account-fields.ts'
import { looseId, looseText } from '../json.ts'
import type { Answer, AskedRequest } from '../json-provider.ts'
import type { ReceiptAnswer, ReceiptReading } from '../receipt.ts'
import {
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
} from '../receipt-reading.ts'
import { rowFor } from '../whatsapp-codes.ts'
import type { ZixflowAccount } from './wire.ts'

/** "delivered", "failed", "read", "clicked", "etc.": the list is open. */
export const statuses = {
  // Guess: the page does not name it; WhatsApp's other words are used as they are.
  sent: 'sent',
  delivered: 'delivered',
  read: 'read',
  failed: 'failed',
  // A link or a button was used: that somebody read it is told on its own.
  clicked: null,
} satisfies StatusTable

const statusSchema = z.object({
  type: looseText,
  channel: looseText,
  /** Zixflow's own number for the message, beyond 2^53, in what it posts; the wamid in a delivery report. */
  message_id: wamid,
  request_id: looseId,
  recipient: phoneNumber,
  status: statusWord,
  /** Why, in words; there is no field for a code. */
  remark: looseText,
  status_at: moment,
  /** The name it has in a delivery report. */
  statusAt: moment,
  post_back_data: ourId,
})

/** @param body parsed JSON of any shape */
export function readReceipts(body: unknown): ReceiptReading {
  return readingOf(listOf(body).map(partOf))
}

function partOf(one: unknown): Part {
  // Webhooks about inbound messages (`event: "incoming.whatsapp.message"`) may be sent to the same address.
  if (isObject(one) && typeof one.event === 'string') return 'other'
  const { success, data } = statusSchema.safeParse(one)
  if (!success) return 'unreadable'
  if (data.type && data.type !== 'delivery_status') return 'other'
  if (data.channel && data.channel.toLowerCase() !== 'whatsapp') return 'other'
  return receiptOf(
    {
      status: data.status,
      messageId: data.post_back_data,
      requestId: data.request_id,
      wamid: data.message_id,
      recipient: data.recipient,
      at: data.status_at ?? data.statusAt,
      failure: { code: codeIn(data.remark), words: [data.remark] },
    },
    statuses,
  )
}

/** Guess: a code of WhatsApp in the remark's words is the reason. */
function codeIn(remark: string | null | undefined): string | undefined {
  return remark?.match(/\b1\d{5}\b/g)?.find((code) => rowFor(code))
}

/** Asks for one request's delivery report. */
export function askRequest(requestId: string, account: ZixflowAccount & { baseUrl: string }): AskedRequest {
  const url = address(account.baseUrl, 'api', 'data', 'messages', 'v1', 'delivery-report')
  return {
    url: `${url}?request_id=${encodeURIComponent(requestId)}`,
    headers: { 'x-api-key': account.apiKey, 'x-workspace-id': account.workspaceId },
  }
}

const reportSchema = z.object({
  success: z.boolean().nullish().catch(undefined),
  message: looseText,
  data: z.unknown().optional(),
})

/**
 * What a delivery report says. `data` is one status as the page prints it; guess: a list of them, or `data.statuses`,
 * where a request had several. What is about another request than the one asked for is left out.
 */
export function readReport({ success, status, body }: Answer, requestId: string): ReceiptAnswer | undefined {
  const parsed = reportSchema.safeParse(body)
  if (!parsed.success) return undefined
  const { success: flag, message, data } = parsed.data
  const code = `HTTP_${status}`
  if (success && flag !== false) {
    const { receipts, ...rest } = readReceipts(reportsIn(data, requestId))
    const own = receipts.filter((receipt) => receipt.requestId === requestId)
    if (own.length > 0) return { answer: 'told', reading: { receipts: own, ...rest } }
    return { answer: 'nothing', code, message: message || 'no status is told' }
  }
  if (flag !== false || status === 429) return undefined
  // Guess: a no with one of these is about the request and not about the account.
  const aboutRequest = success || status === 400 || status === 404
  return {
    answer: aboutRequest ? 'nothing' : 'failed',
    code,
    message: message || 'no, without an explanation',
  }
}

/** The answer is about the request asked for, whether it repeats the id or not. */
function reportsIn(data: unknown, requestId: string): unknown[] {
  const reports = listOf(isObject(data) ? (data.statuses ?? data) : data)
  return reports.map((one) => (isObject(one) ? { ...one, request_id: one.request_id ?? requestId } : one))
}
