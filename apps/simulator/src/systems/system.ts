/**
 * The words between the simulator's core and the five systems it plays.
 *
 * - system: one provider's HTTP API, read from that provider's own document and from nothing else here.
 * - account: the sender identity a request names (Kaleyra phone number, Gupshup app id, Zixflow phone id).
 * - answer: what goes back over the wire.
 * - code: the answer's own code (`WA202`, `E110`), or a name for it where the provider has none.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Told } from '../receipts/log.ts'

export const providerNames = ['zixflow', 'zixflow-campaign', 'kaleyra', 'gupshup'] as const
export type ProviderName = (typeof providerNames)[number]

export const messageTypes = ['reaction', 'interactive'] as const
export type MessageType = (typeof messageTypes)[number]

/** What goes back over the wire; `body` is sent as JSON unless a header says otherwise. */
export interface Answer {
  status: number
  code: string
  body: string
  headers?: Record<string, string>
}

/** One message as the document has it: everything in it was checked. */
export interface Taken {
  type: MessageType
  /** E.164 digits; several separated by commas where the document allows several. */
  recipient: string
  /** What the recipient would see: equal content for the same recipient is a duplicate. */
  content: unknown
  /** What the provider echoes later (Kaleyra `ref`, Zixflow `post_back_data`), or null. */
  reference: string | null
  /** Where news of it goes, for the systems that are told with the message. */
  receiptUrl?: string | undefined
}

/** A body that does not fit, and where. */
export interface Misfit {
  problem: string
}

/** What is known before the body is read. */
export interface Head {
  headers: IncomingHttpHeaders
  parameters: Record<string, string | undefined>
}

/** How presented credentials compare with the registered accounts. */
export type CredentialCheck =
  | 'fine'
  /** No registered account has these. */
  | 'wrong'
  /** They belong to an account, but not to the one named; that one is registered. */
  | 'other-account'
  /** They belong to an account, and the one named is not registered. */
  | 'unknown-account'

/** An answer by name, for faults on demand; `text` and `status` only where the provider has no fixed ones. */
export type NamedError = (text?: string, status?: number) => Answer

export interface Endpoint {
  /** In the router's notation. */
  path: string
  check(body: unknown): Taken | Misfit
}

export interface System {
  provider: ProviderName
  endpoints: Endpoint[]
  /** The account as far as path and headers tell it. */
  accountFromHead(head: Head): string | undefined
  /** The account as the body tells it, for the systems that name it there. */
  accountFromBody(body: unknown): string | undefined
  /** Recipient and echo of a body that is refused, as far as they can be told; for the records. */
  peek(body: unknown): Pick<Taken, 'recipient' | 'reference'> | undefined
  /** The credentials presented, or undefined where one is missing or not well-formed. */
  credentials(head: Head): Record<string, string> | undefined
  /** Refusals that are not about content. */
  refuseCredentials(check: Exclude<CredentialCheck, 'fine'>): Answer
  /** For an account that cannot be one, registered or not; undefined where it may be. */
  refuseAccount(name: string): Answer | undefined
  refuseBody(problem: string): Answer
  refuseMethod(): Answer
  tooManyRequests(): Answer
  lowBalance(): Answer
  /** Every documented error by name, and the undocumented ones somebody may need. */
  errors: Record<string, NamedError>
  newRequestId(): string
  /** The answer to a message that was taken. The campaign API tells no request id. */
  success(requestId: string, taken: Taken): Answer
  /** Whether `success` tells the request id. */
  tellsRequestId: boolean
  /** The success answer as the provider's document misprints it, or with `data` of the wrong kind. */
  /** What it posts about messages it took; absent where it posts nothing. */
  receipts?: {
    /** Which statuses may share a body: those of one message, any, or none. */
    bundles: 'message' | 'any' | 'never'
    /** One body for these statuses, which are of one account. */
    body(told: readonly Told[]): string
  }
  oddSuccess: Record<'missing-commas' | 'array-data' | 'huge-numbers', (requestId: string) => string>
}

/** A field of an unknown value, if it is an object that has a string there. */
export function stringField(value: unknown, name: string): string | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const field = (value as Record<string, unknown>)[name]
  return typeof field === 'string' && field !== '' ? field : undefined
}

/** For systems that have recipient and echo at the top of the body. */
export function peekAt(
  body: unknown,
  recipientName: string,
  referenceName?: string,
): ReturnType<System['peek']> {
  const recipient = stringField(body, recipientName)
  if (recipient === undefined) return undefined
  const reference = referenceName === undefined ? undefined : stringField(body, referenceName)
  return { recipient: recipient.replaceAll('+', ''), reference: reference ?? null }
}

/** A header that is there, once, and holds something. */
export function soleHeader(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return typeof value === 'string' && value.trim() !== '' ? value : undefined
}
