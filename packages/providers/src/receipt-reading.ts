/**
 * What reading a receipt is made of, whichever provider it is from. The bodies are untrusted: everything here takes
 * anything, and gives undefined for what it cannot make sense of.
 */
import { z } from 'zod'
import { looseText } from './json.ts'
import type { Receipt, ReceiptError, ReceiptReading, ReceiptState } from './receipt.ts'
import { tellable, tellableCode } from './untrusted-text.ts'
import { whatsappWords } from './whatsapp-codes.ts'

/** A provider's words for what became of a message; null: known, and moves nothing. Each needs a fixture. */
export type StatusTable = Record<string, ReceiptState | null>

/** Codes of a provider's own and what they say to an operator. */
export type FailureTable = Record<string, string>

/** One part of a body: a receipt, something else that is fine, or nothing that can be read. */
export type Part = Receipt | 'other' | 'unreadable'

/** Counts the parts of a body. One without any part is unreadable: nothing is ever dropped in silence. */
export function readingOf(parts: Part[]): ReceiptReading {
  const receipts = parts.filter((part): part is Receipt => typeof part !== 'string')
  const others = parts.filter((part) => part === 'other').length
  return { receipts, others, unreadable: parts.length === 0 ? 1 : parts.length - receipts.length - others }
}

/** A list, where one thing alone is a list of it and nothing is an empty one. */
export function listOf(value: unknown): unknown[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? value : [value]
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Our own id, where it is what a provider echoed; the echo may as well be somebody else's word. */
export const ourId = looseText.transform((value) =>
  value && /^msg_[0-9A-Za-z]{1,60}$/.test(value) ? value : undefined,
)

/** WhatsApp's own id of a message; other ids stand in the same fields at times. */
export const wamid = looseText.transform((value) =>
  value && /^wamid\.[\x21-\x7e]{1,500}$/.test(value) ? value : undefined,
)

/** A phone number without its plus sign; providers mask some (`91******10`), which then count as absent. */
export const phoneNumber = looseText.transform((value) => /^\+?(\d{5,15})$/.exec(value ?? '')?.[1])

/** The first year in which there was a WhatsApp to report from. */
const earliestMs = Date.UTC(2009, 0)
/** How far a provider's clock may be ahead of ours. */
const clockToleranceMs = 86_400_000
const zonedTime = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})$/i

/**
 * A moment as milliseconds since 1970, from milliseconds, seconds, or a date with its zone, as number or text.
 * A date without a zone could be hours off and is not taken, nor is anything before WhatsApp or after tomorrow.
 */
export const moment = z
  .unknown()
  .optional()
  .transform((value) => {
    const atMs = typeof value === 'string' && zonedTime.test(value) ? Date.parse(value) : fromNumber(value)
    return atMs >= earliestMs && atMs <= Date.now() + clockToleranceMs ? Math.round(atMs) : undefined
  })

function fromNumber(value: unknown): number {
  const isDigits = typeof value === 'string' && /^\d{1,20}(\.\d{1,9})?$/.test(value)
  const number = typeof value === 'number' || isDigits ? Number(value) : Number.NaN
  // Seconds reach this number in the year 5138, milliseconds passed it in 1973.
  return number < 1e11 ? number * 1_000 : number
}

/** A provider's word, lower case and at most 40 characters; undefined where there is none. */
export const statusWord = looseText.transform(
  (value) =>
    tellable(value ?? '')
      .toLowerCase()
      .slice(0, 40)
      .toWellFormed()
      .trim() || undefined,
)

/** What a status says of itself, as far as it could be read. */
export interface StatusFacts {
  status: string | undefined
  messageId?: string | undefined
  requestId?: string | undefined
  wamid?: string | undefined
  recipient?: string | undefined
  at?: number | undefined
  failure?: Failure | undefined
}

/** Makes a receipt of what was read; unreadable without a word or without any id to find the message by. */
export function receiptOf(facts: StatusFacts, statuses: StatusTable): Part {
  const { status, messageId, requestId, wamid, recipient, at, failure } = facts
  if (!status || !(messageId || requestId || wamid)) return 'unreadable'
  const state = stateOf(status, statuses)
  return {
    ...(messageId && { messageId }),
    ...(requestId && { requestId }),
    ...(wamid && { wamid }),
    status,
    ...(state && { state }),
    ...(at !== undefined && { at }),
    ...(recipient && { recipient }),
    ...(state === 'failed' && { error: errorOf(failure, status) }),
  }
}

/** Spaces and underscores are as good as the hyphens of the table. */
function stateOf(status: string, statuses: StatusTable): ReceiptState | undefined {
  const word = status.replace(/[\s_]+/g, '-')
  return (Object.hasOwn(statuses, word) && statuses[word]) || undefined
}

/** A provider's explanation of a failure. */
export interface Failure {
  code?: string | null | undefined
  /** In its words, the most telling first. */
  words?: (string | null | undefined)[]
  /** What its own codes mean; WhatsApp's are known. */
  table?: FailureTable
}

/** An operator's words first, then the provider's, where it said any of its own. */
function errorOf({ code: told, words = [], table = {} }: Failure = {}, status: string): ReceiptError {
  const code = tellableCode(told ?? '') || status.replace(/[\s-]+/g, '_').toUpperCase()
  const plain = (Object.hasOwn(table, code) && table[code]) || whatsappWords(code)
  const theirs = tellable(words.find((text) => text?.trim()) ?? '')
  if (!plain) return { code, message: theirs || 'failed without an explanation' }
  const message = theirs && theirs !== plain ? tellable(`${plain} (${theirs})`) : plain
  return { code, message }
}

const whatsappError = z.object({
  code: looseText,
  title: looseText,
  message: looseText,
  error_data: z.object({ details: looseText }).nullish().catch(undefined),
})

/**
 * The explanation in a status, as WhatsApp has it: `errors: [{ code, title, message, error_data: { details } }]`
 * ("Status messages webhook reference", WhatsApp Cloud API). The first error that can be read counts.
 */
export function whatsappFailure(errors: unknown): Failure | undefined {
  for (const one of listOf(errors)) {
    const { success, data } = whatsappError.safeParse(one)
    if (!success) continue
    const words = [data.error_data?.details, data.message, data.title]
    if (data.code || words.some(Boolean)) return { code: data.code, words }
  }
  return undefined
}
