/**
 * The whole vocabulary between this project and a provider.
 *
 * - provider: one HTTP API family (`kaleyra`, `gupshup`, `zixflow`, `zixflow-campaign`).
 * - account: credentials at one provider plus the one sender identity they send as.
 * - message: one content for one recipient.
 * - attempt: one HTTP call for one message.
 * - outcome: what an attempt means. Outcomes are data: an adapter throws only for bugs.
 * - request id: the id the provider answered with; receipts name it later.
 * - receipt: what the provider says later about a message it took; see `receipt.ts`.
 *
 * Nothing in this package knows queues or Redis.
 */
import type { z } from 'zod'
import type { Content } from './content.ts'
import type { Http } from './http.ts'
import type { ReceiptAnswer, ReceiptReading } from './receipt.ts'

/** One message as an adapter gets it, already validated by {@link Provider.refuse}. */
export interface OutboundMessage {
  /** Our id (`msg_…`). It travels wherever the provider echoes something. */
  id: string
  /** The recipient: E.164 digits without the leading `+`. */
  to: string
  /** The WhatsApp Cloud API's own message object. */
  content: Content
}

/** What happened to one attempt. The compiler checks that every case is handled. */
export type SendOutcome = Accepted | Throttled | Unavailable | Uncertain | Rejected

interface Told {
  /** The provider's own code (`WA500`, `E110`, …), or `HTTP_<status>`, or the transport's (`ECONNREFUSED`). */
  code: string
  /** In the provider's words, or ours where it said nothing. Never holds secrets. */
  message: string
}

/** The provider took the message. */
export interface Accepted {
  outcome: 'accepted'
  code: string
  /** Absent where the provider's answer carries none (the older Zixflow campaign API). */
  requestId?: string
}

/** The provider did not take it because we are too fast. Costs no attempt and slows the scope that it names. */
export interface Throttled extends Told {
  outcome: 'throttled'
  /** What is too much: all calls with this credential, or messages to this recipient; absent: this sender's messages. */
  scope?: 'account' | 'provider' | 'pair'
  /** `Retry-After` in milliseconds from now, where the provider sent one. */
  retryAfterMs?: number
}

/** The provider did not take it and says so, or was never reached. Safe to try again. */
export interface Unavailable extends Told {
  outcome: 'unavailable'
  retryAfterMs?: number
}

/** The request was written and nobody knows what became of it. */
export interface Uncertain extends Told {
  outcome: 'uncertain'
  /** True where a 2xx came that could not be read: such a message is never sent again by itself. */
  answered: boolean
}

/** The provider refused it. Sending the same again gives the same answer. */
export interface Rejected extends Told {
  outcome: 'rejected'
  kind: RejectionKind
}

/**
 * Why a message was refused. The first four are about the message, the others about the account:
 * with those, sending the next message is pointless too.
 */
export type RejectionKind =
  | 'content' // the payload does not fit
  | 'recipient' // this recipient cannot be reached
  | 'request' // the address or method is wrong (404, 405, a redirect)
  | 'other'
  | 'credentials' // key, token, SID or sender are not accepted
  | 'balance' // the wallet is empty
  | 'account' // the account may not use this API, or its quota is used up
  | 'policy' // the account is restricted

/** One thing a message holds that cannot be sent; `path` is within the message object. */
export interface Issue {
  path: (string | number)[]
  message: string
}

/** What one attempt is given beside its message. */
export interface SendContext<Account> {
  account: Account & {
    baseUrl: string
    timeoutMs: number
    /** Where receipts should go, for providers that take that with the message. */
    receiptUrl?: string | undefined
    /** What proves that a receipt is the provider's. A secret, though it is part of the address given to it. */
    receiptToken?: string | undefined
  }
  http: Http
  /** Aborts the call. The worker does not use it: an answer on its way is worth more than a lock that was lost. */
  signal?: AbortSignal | undefined
}

/** Requests per second per account, and how many messages one recipient may get in a minute. */
export interface RateLimit {
  perSecond: number
  pairPerMinute?: number | undefined
}

/** What an account has where `accounts.json` says nothing. */
export interface ProviderDefaults {
  baseUrl?: string
  rateLimit: RateLimit
  /** For one attempt, from its start to the last byte of the answer; milliseconds. */
  timeoutMs: number
  /** The waits before the second, third, … attempt of a message that was `unavailable`; milliseconds. */
  retry: { unavailable: { delaysMs: number[] } }
}

/** One provider. Adding one is one folder and one line in `registry.ts`. */
export interface Provider<Account = unknown> {
  name: string
  /** The account's own fields: credentials and sender. */
  accountSchema: z.ZodType<Account>
  /** Names of fields in it that are secret: they never appear in a log or an answer. */
  secrets: readonly string[]
  defaults: ProviderDefaults
  /** What of this content the provider cannot carry; empty when it can. Shape and WhatsApp's limits are checked before. */
  refuse(content: Content): Issue[]
  /** One HTTP call. Never throws for anything the provider or the network does. */
  send(message: OutboundMessage, context: SendContext<Account>): Promise<SendOutcome>
  /**
   * Reads what the provider posts about messages it took; absent where it posts nothing.
   * It takes the text and not what was parsed of it, since digits of a long number are lost in between.
   * Never throws, whatever the text is.
   * @param text the body of the request
   */
  readReceipts?(text: string): ReceiptReading
  /**
   * Asks what became of a message; absent where there is nobody to ask. One HTTP call, which counts against the
   * account's rate limit. Never throws for anything the provider or the network does.
   * @param requestId what the send was answered with
   */
  askReceipt?(requestId: string, context: SendContext<Account>): Promise<ReceiptAnswer>
}

/** Ties the account schema to the adapter's own types without naming them twice, and `secrets` to its fields. */
export function defineProvider<Account>(
  provider: Provider<Account> & { secrets: readonly (keyof Account & string)[] },
): Provider<Account> {
  return provider
}
