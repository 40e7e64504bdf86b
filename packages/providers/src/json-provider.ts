/** What every provider that takes and gives JSON shares, so that an adapter is only its request and its table. */
import { outcomeByStatus, outcomeOfFailure } from './fall-through.ts'
import type { HttpFailure, HttpReply } from './http.ts'
import { parseJson } from './json.ts'
import { isSuccess, type OutcomeTable } from './outcomes.ts'
import {
  defineProvider,
  type OutboundMessage,
  type Provider,
  type SendContext,
  type SendOutcome,
} from './provider.ts'
import type { ReceiptAnswer, ReceiptReading } from './receipt.ts'
import type { StatusTable } from './receipt-reading.ts'
import { retryAfterMs } from './retry-after.ts'
import { tellable, tellableCode } from './untrusted-text.ts'
import { whatsappOutcome } from './whatsapp-codes.ts'

/** The one HTTP call of an attempt; `content-type` is added where it is made. */
export interface WireRequest {
  url: string
  headers: Record<string, string>
  json: unknown
}

/** The one HTTP call that asks for a receipt. */
export type AskedRequest = Omit<WireRequest, 'json'>

/** A provider's answer before anybody gave it a meaning. */
export interface Answer {
  status: number
  /** Status 200 to 299. */
  success: boolean
  /** Parsed JSON; undefined where there was none. Not trusted: it may be anything. */
  body: unknown
  /** `Retry-After`, milliseconds from now. */
  retryAfterMs: number | undefined
}

/** What an adapter adds to the vocabulary's provider. */
export interface JsonAdapter<Account>
  extends Omit<Provider<Account>, 'send' | 'secrets' | 'readReceipts' | 'askReceipt'> {
  secrets: readonly (keyof Account & string)[]
  outcomes: OutcomeTable
  /** Builds the call; for one message always the same. */
  request(message: OutboundMessage, account: SendContext<Account>['account']): WireRequest
  /** The meaning of an answer; undefined where the provider's documents say nothing about it. */
  read(answer: Answer): SendOutcome | undefined
  /** Reads a body that is not quite JSON; strict where absent. */
  parse?(text: string): unknown
  /** What the provider posts about messages it took. */
  receipts?: {
    statuses: StatusTable
    /** @param body parsed JSON of any shape; never throws */
    read(body: unknown): ReceiptReading
  }
  /** How the provider is asked for a receipt. */
  report?: {
    request(requestId: string, account: SendContext<Account>['account']): AskedRequest
    /** The meaning of an answer; undefined where it says nothing about the request asked for. */
    read(answer: Answer, requestId: string): ReceiptAnswer | undefined
  }
}

/** Makes a provider of an adapter: one call, every answer and failure an outcome, no secret in any of them. */
export function defineJsonProvider<Account>(adapter: JsonAdapter<Account>): JsonProvider<Account> {
  const { request, read, parse = parseJson, outcomes, receipts, report, ...provider } = adapter

  function meaningOf(reply: HttpReply): SendOutcome {
    const answer = answerOf(reply)
    const { status, body, retryAfterMs: wait } = answer
    return (
      read(answer) ?? whatsappOutcome(body, status, wait) ?? outcomeByStatus({ status, retryAfterMs: wait })
    )
  }

  function answerOf({ status, headers, truncated, body }: HttpReply): Answer {
    return {
      status,
      success: isSuccess(status),
      // A body that was cut is never JSON; trying costs time.
      body: truncated ? undefined : parse(body),
      retryAfterMs: retryAfterMs(headers['retry-after']),
    }
  }

  return {
    ...defineProvider<Account>({
      ...provider,
      async send(message, { account, http, signal }) {
        const call = request(message, account)
        const reply = await http.post({ ...call, timeoutMs: account.timeoutMs, signal })
        return tell(reply.kind === 'reply' ? meaningOf(reply) : outcomeOfFailure(reply), secretsOf(account))
      },
      ...(receipts && { readReceipts: (text) => readText(text, receipts.read) }),
      ...(report && {
        async askReceipt(requestId, { account, http, signal }) {
          const call = report.request(requestId, account)
          const reply = await http.get({ ...call, timeoutMs: account.timeoutMs, signal })
          const found = reply.kind === 'reply' ? report.read(answerOf(reply), requestId) : undefined
          return tellAnswer(found ?? otherAnswer(reply), secretsOf(account))
        },
      }),
    }),
    outcomes,
    ...(receipts && { receiptStatuses: receipts.statuses }),
  }

  /** The token is in the address that some providers are given, and an answer may echo that. */
  function secretsOf(account: SendContext<Account>['account']): string[] {
    const token = account.receiptToken
    const own = adapter.secrets.map((field) => String(account[field]))
    return token ? [...own, token, encodeURIComponent(token)] : own
  }
}

function readText(text: string, read: (body: unknown) => ReceiptReading): ReceiptReading {
  const body = parseJson(text)
  return body === undefined ? { receipts: [], others: 0, unreadable: 1 } : read(body)
}

/** The meaning of an answer about a receipt that the provider's documents do not explain, or of none. */
function otherAnswer(reply: HttpReply | HttpFailure): ReceiptAnswer {
  if (reply.kind === 'failure') return { answer: 'failed', code: reply.code, message: reply.message }
  const code = `HTTP_${reply.status}`
  const outcome = outcomeByStatus({ status: reply.status })
  const message = 'message' in outcome ? outcome.message : code
  if (reply.status !== 429) return { answer: 'failed', code, message }
  const wait = retryAfterMs(reply.headers['retry-after'])
  return { answer: 'throttled', code, message, ...(wait !== undefined && { retryAfterMs: wait }) }
}

function tellAnswer(answer: ReceiptAnswer, secrets: string[]): ReceiptAnswer {
  if (answer.answer !== 'told') return { ...answer, message: tellable(answer.message, secrets) }
  const receipts = answer.reading.receipts.map(({ error, ...receipt }) => ({
    ...receipt,
    ...(error && { error: { ...error, message: tellable(error.message, secrets) } }),
  }))
  return { ...answer, reading: { ...answer.reading, receipts } }
}

/** A provider whose documented answers are known as a table. */
export interface JsonProvider<Account = unknown> extends Provider<Account> {
  outcomes: OutcomeTable
  /** The documented words of its receipts; absent where it posts none. */
  receiptStatuses?: StatusTable
}

function tell(outcome: SendOutcome, secrets: string[]): SendOutcome {
  // Nothing may be left of a code or a text that was all invisible.
  const code = tellableCode(outcome.code, secrets) || 'UNREADABLE_CODE'
  if (outcome.outcome === 'accepted') return { ...outcome, code }
  return { ...outcome, code, message: tellable(outcome.message, secrets) || `the provider answered ${code}` }
}
