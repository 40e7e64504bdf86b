/**
 * What a provider says about a message after it took it.
 *
 * - receipt: one status of one message. A body may hold several, of several messages.
 * - state: what a status means to us. A status without one is kept and counted, and moves nothing.
 * - reading: what was found in one body. Bodies are untrusted: whatever they hold, reading them never throws.
 */

/** The states a receipt can tell of, as everybody here names them. */
export const receiptStates = ['sent', 'delivered', 'read', 'failed'] as const
export type ReceiptState = (typeof receiptStates)[number]

export interface Receipt {
  /** Our own id (`msg_…`), where the provider echoes it. Untrusted: it names a message only if there is one. */
  messageId?: string
  /** The id that the send was answered with. */
  requestId?: string
  /** WhatsApp's own id of the message. */
  wamid?: string
  /** The provider's own word: lower case, at most 40 characters. */
  status: string
  /** What the word means; absent: the receipt moves nothing (`enqueued`, `clicked`, words that nobody knows). */
  state?: ReceiptState
  /** When it happened, milliseconds since 1970; absent where the provider tells none that can be believed. */
  at?: number
  /** E.164 digits without `+`. */
  recipient?: string
  /** Why, for `failed`: the provider's own code, and words that an operator understands. */
  error?: ReceiptError
}

export interface ReceiptError {
  code: string
  message: string
}

/** What one body holds. Its parts are counted once: as a receipt, as another thing, or as unreadable. */
export interface ReceiptReading {
  receipts: Receipt[]
  /** Parts that are fine and no receipts: inbound messages, a check of the address. */
  others: number
  /** Parts that nobody can make sense of; a body that is no JSON at all is one. */
  unreadable: number
}

/** What came of asking a provider what became of a message. */
export type ReceiptAnswer =
  /** It answered, with a status or several. */
  | { answer: 'told'; reading: ReceiptReading }
  /** It answered, and there is no status of this request in what it said. */
  | { answer: 'nothing'; code: string; message: string }
  /** Asked too fast. */
  | { answer: 'throttled'; code: string; message: string; retryAfterMs?: number }
  /** Not reached, not allowed, or an answer that cannot be read. */
  | { answer: 'failed'; code: string; message: string }
